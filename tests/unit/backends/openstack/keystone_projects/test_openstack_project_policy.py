"""Creates, networks and images of the OpenStack driver with Keystone projects."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.fake_openstack import (
    REQUEST_ID,
    SERVER_ID,
    SPEC,
    FakeOpenStack,
    Reply,
)
from tests.support.keystone_projects import (
    ALICE,
    FORBIDDEN_BY_POLICY,
    SERVERS,
    SPEC_IN_PROJECT_A,
    TOKEN,
)
from vmapi import errors
from vmapi.backends.base import AcceptedAction
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.backends.openstack.projects import (
    CREDENTIALS_REQUIRED_DETAIL,
    PROJECT_NOT_VISIBLE_DETAIL,
)
from vmapi.domain.identity import CallerToken
from vmapi.services.catalog import Catalog
from vmapi.settings.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")


def test_create_in_the_service_project_needs_no_token(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    backend.check_create("p", None)
    assert backend.create_vm(replace(SPEC, project="p"), "op-1") == AcceptedAction(
        SERVER_ID, REQUEST_ID
    )


def test_create_in_another_project_needs_a_caller_token(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    backend.check_create("project-a", ALICE)
    for refused in (
        lambda: backend.check_create("project-a", None),
        lambda: backend.create_vm(SPEC_IN_PROJECT_A, "op-1"),
        lambda: backend.create_vm(SPEC, "op-1"),
    ):
        with pytest.raises(errors.Forbidden) as caught:
            refused()
        assert caught.value.detail == CREDENTIALS_REQUIRED_DETAIL
    assert cloud.count_requests("POST", SERVERS) == 0


def test_create_in_an_invisible_project_is_forbidden(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    cloud.reply_to("GET", SERVERS, FORBIDDEN_BY_POLICY, Reply(200, {"servers": []}))
    for refused in (
        lambda: backend.check_create("project-a", ALICE),
        lambda: backend.create_vm(SPEC_IN_PROJECT_A, "op-1", caller_token=ALICE),
    ):
        with pytest.raises(errors.Forbidden) as caught:
            refused()
        assert caught.value.detail == PROJECT_NOT_VISIBLE_DETAIL
    backend.check_create("p", CallerToken(TOKEN, "p"))
    assert cloud.count_requests("POST", SERVERS) == 0


def network(name: str, project: str, **members: Any) -> dict[str, Any]:
    return {"id": f"id-{name}", "name": name, "project_id": project, "shared": False, **members}


def image(name: str, owner: str, visibility: str) -> dict[str, Any]:
    return {
        "id": f"id-{name}",
        "name": name,
        "status": "active",
        "owner": owner,
        "visibility": visibility,
    }


def test_networks_and_images_are_private_or_public(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    networks = [
        network("private", "project-a"),
        network("foreign", "p"),
        network("public", "p", shared=True, **{"router:external": True}),
    ]
    images = [
        image("debian", "p", "public"),
        image("community", "p", "community"),
        image("own", "project-a", "private"),
        image("shared", "project-a", "shared"),
        image("foreign", "p", "private"),
        image("foreign-too", "p", "shared"),
    ]
    cloud.reply_to("GET", "/network/v2.0/networks", Reply(200, {"networks": networks}))
    cloud.reply_to("GET", "/image/v2/images", Reply(200, {"images": images}))
    catalog = Catalog(backend)
    assert [item.name for item in catalog.list_networks("project-a")] == ["private", "public"]
    assert len(catalog.list_networks(None)) == 3
    assert [item.name for item in catalog.list_images("project-a")] == [
        *("community", "debian", "own", "shared"),
    ]
    assert catalog.find_image("own", "project-a").id == "id-own"
    for name in ("own", "id-own"):
        with pytest.raises(errors.ImageNotFound):
            catalog.find_image(name, "p")
    for name in ("private", "id-private"):
        with pytest.raises(errors.NetworkNotFound):
            catalog.find_network(name, "p")


def test_default_network_is_the_only_one_of_the_project(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    outside = network("outside", "admin", **{"router:external": True})
    networks = [network("net", "project-a"), network("net", "p"), outside]
    networks[1]["id"] = "id-p"
    cloud.reply_to("GET", "/network/v2.0/networks", Reply(200, {"networks": networks}))
    catalog = Catalog(backend)
    for project, id in (("project-a", "id-net"), ("p", "id-p")):
        for name in (None, "net"):
            found = catalog.find_network(name, project)
            assert found is not None
            assert found.id == id
    assert catalog.find_network(None, "unknown") is None


def test_networks_and_images_are_public_without_keystone(
    cloud: FakeOpenStack, keystone_settings: Settings
) -> None:
    backend = OpenStackBackend.from_settings(replace(keystone_settings, auth=("token",)))
    networks = Reply(200, {"networks": [network("a", "p"), network("b", "q")]})
    cloud.reply_to("GET", "/network/v2.0/networks", networks)
    cloud.reply_to("GET", "/image/v2/images", Reply(200, {"images": [image("i", "p", "private")]}))
    assert len(Catalog(backend).list_networks("web")) == 2
    assert Catalog(backend).find_image("i", "web").id == "id-i"
    backend.close()
