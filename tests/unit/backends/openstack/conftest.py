"""A fake OpenStack with one server, and a driver for it."""

from collections.abc import Iterator

import pytest

from tests.support.fake_openstack import (
    SERVER_PATH,
    FakeOpenStack,
    Reply,
    openstack_settings,
    serve_openstack,
    server_reply,
)
from vmapi.backends.openstack.driver import OpenStackBackend


@pytest.fixture
def cloud() -> Iterator[FakeOpenStack]:
    with serve_openstack() as cloud:
        cloud.reply_to("GET", SERVER_PATH, server_reply("ACTIVE"))
        cloud.reply_to("GET", "/image/v2/images", Reply(200, {"images": []}))
        yield cloud


@pytest.fixture
def backend(cloud: FakeOpenStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenStackBackend]:
    backend = OpenStackBackend.from_settings(openstack_settings(cloud.url, monkeypatch))
    yield backend
    backend.close()
