"""A fake OpenStack with servers of a project, and a driver with Keystone projects."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.fake_openstack import (
    SERVER_ID,
    FakeOpenStack,
    Reply,
    openstack_settings,
    serve_openstack,
)
from tests.support.keystone_projects import (
    ACCEPTED_CHANGE,
    CHANGES,
    DETAIL,
    SERVER,
    SERVERS,
    TOKEN,
)
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.settings.settings import Settings


@pytest.fixture
def cloud() -> Iterator[FakeOpenStack]:
    with serve_openstack() as cloud:
        server = {"id": SERVER_ID, "status": "ACTIVE", "tenant_id": "project-a", "metadata": {}}
        cloud.reply_to("GET", SERVER, Reply(200, {"server": server}))
        cloud.reply_to("GET", SERVERS, Reply(200, {"servers": []}))
        cloud.reply_to("GET", DETAIL, Reply(200, {"servers": [server]}))
        cloud.reply_to("GET", "/image/v2/images", Reply(200, {"images": []}))
        for _, request in CHANGES.values():
            cloud.reply_to(*request, ACCEPTED_CHANGE)
        cloud.valid_tokens.add(TOKEN)
        yield cloud


@pytest.fixture
def keystone_settings(cloud: FakeOpenStack, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return replace(
        openstack_settings(cloud.url, monkeypatch), auth=("keystone",), default_project="web"
    )


@pytest.fixture
def backend(keystone_settings: Settings) -> Iterator[OpenStackBackend]:
    backend = OpenStackBackend.from_settings(keystone_settings)
    yield backend
    backend.close()
