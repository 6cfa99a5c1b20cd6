"""Calls of the OpenStack driver to a failing cloud."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support.fake_openstack import (
    NOVA_PATH,
    SERVER_ID,
    SERVER_PATH,
    Reply,
    openstack_settings,
)
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import CreateSpec

ACTION_PATH = f"{SERVER_PATH}/action"
SERVERS_PATH = f"{NOVA_PATH}/servers"
TIMEOUT = 3.0
LATE_SECONDS = 30.0
"""Far more than the timeout, and less than sixteen of them; a stall lasts a minute."""
LONG_TIMEOUT = 30.0
SPEC = CreateSpec("web-1", "1", SERVER_ID, SERVER_ID, {}, b"secret-data", None, ())
HTML = Reply(200, "<html><body>Welcome</body></html>", {"Content-Type": "text/html"})
UNAVAILABLE_PAGE = "<html><head><title>503 Service Unavailable</title></head></html>"

Call = Callable[[OpenStackBackend], object]


def connect(
    url: str, monkeypatch: pytest.MonkeyPatch, timeout: float = TIMEOUT
) -> OpenStackBackend:
    """Build a driver for 16 threads; the timeout is in seconds."""
    settings = replace(openstack_settings(url, monkeypatch), backend_timeout=timeout, threads=16)
    return OpenStackBackend.from_settings(settings)


def stop(backend: OpenStackBackend) -> object:
    """Stop the server."""
    return backend.perform_action(SERVER_ID, Verb.STOP)


def create(backend: OpenStackBackend) -> object:
    """Create a server."""
    return backend.create_vm(SPEC, "op")


def get(backend: OpenStackBackend) -> object:
    """Read the server."""
    return backend.get_vm(SERVER_ID)
