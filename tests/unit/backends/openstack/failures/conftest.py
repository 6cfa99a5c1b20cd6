"""A fake OpenStack with one server, and drivers with a long and a short timeout."""

from collections.abc import Iterator

import pytest

from tests.support.driver_calls import LONG_TIMEOUT, SERVERS_PATH, connect
from tests.support.fake_openstack import (
    SERVER_ID,
    SERVER_PATH,
    FakeOpenStack,
    Reply,
    serve_openstack,
)
from vmapi.backends.openstack.driver import OpenStackBackend


@pytest.fixture
def cloud() -> Iterator[FakeOpenStack]:
    with serve_openstack() as cloud:
        cloud.reply_to(
            "GET", SERVER_PATH, Reply(200, {"server": {"id": SERVER_ID, "status": "ACTIVE"}})
        )
        cloud.reply_to("GET", "/image/v2/images", Reply(200, {"images": []}))
        cloud.reply_to("GET", SERVERS_PATH, Reply(200, {"servers": []}))
        yield cloud


@pytest.fixture
def backend(cloud: FakeOpenStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenStackBackend]:
    """A driver with a timeout longer than any reply here."""
    backend = connect(cloud.url, monkeypatch, LONG_TIMEOUT)
    yield backend
    backend.close()


@pytest.fixture
def impatient_backend(
    cloud: FakeOpenStack, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OpenStackBackend]:
    """A driver with a timeout of a few seconds."""
    backend = connect(cloud.url, monkeypatch)
    yield backend
    backend.close()
