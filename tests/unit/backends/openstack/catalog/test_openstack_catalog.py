"""The catalog of the OpenStack driver: flavors, images and networks."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.fake_openstack import (
    NOVA_PATH,
    SPEC,
    FakeOpenStack,
    Reply,
    openstack_settings,
)
from vmapi import errors
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.services.catalog import Catalog


def network(name: str, *, external: bool = False, shared: bool = False) -> dict[str, Any]:
    return {"id": f"id-{name}", "name": name, "router:external": external, "shared": shared}


def test_unknown_flavor_invalidates_the_catalog(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    flavor = {
        "id": "1",
        "name": "m1.tiny",
        "vcpus": 1,
        "ram": 512,
        "disk": 1,
        "os-flavor-access:is_public": True,
    }
    cloud.reply_to("GET", f"{NOVA_PATH}/flavors/detail", Reply(200, {"flavors": [flavor]}))
    for _ in range(2):
        assert backend.list_flavors()[0].name == "m1.tiny"
    assert cloud.count_requests("GET", f"{NOVA_PATH}/flavors/detail") == 1
    unknown = Reply(400, {"badRequest": {"message": "Flavor 1 could not be found."}})
    cloud.reply_to("POST", f"{NOVA_PATH}/servers", unknown)
    with pytest.raises(errors.FlavorNotFound):
        backend.create_vm(SPEC, "op")
    backend.list_flavors()
    assert cloud.count_requests("GET", f"{NOVA_PATH}/flavors/detail") == 2
    backend.list_flavors(refresh=True)
    assert cloud.count_requests("GET", f"{NOVA_PATH}/flavors/detail") == 3


def test_image_list_reads_all_pages(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    def image(number: int, **members: Any) -> dict[str, Any]:
        return {"id": str(number), "name": None, "status": "active", **members}

    cloud.reply_to(
        "GET",
        "/image/v2/images",
        Reply(200, {"images": [image(1)], "next": "/v2/images?marker=1"}),
        Reply(200, {"images": [image(2, name="two", min_disk=3, min_ram=4)]}),
    )
    unnamed, two = backend.list_images()
    assert (unnamed.name, unnamed.min_disk_gb) == ("1", 0)
    assert (two.name, two.min_disk_gb, two.min_ram_mb) == ("two", 3, 4)


@pytest.mark.parametrize(
    ("networks", "default_network", "expected"),
    [
        ([network("a")], None, "a"),
        ([network("a"), network("ext", external=True)], None, "a"),
        ([network("a"), network("b")], None, None),
        ([network("ext", external=True)], None, None),
        ([network("a"), network("ext", external=True, shared=True)], None, None),
        ([network("a"), network("b")], "b", "b"),
        ([network("a"), network("b")], "id-a", "a"),
        ([network("a")], "c", "a"),
        ([network("a"), network("b")], "c", None),
    ],
)
def test_default_network(
    cloud: FakeOpenStack,
    monkeypatch: pytest.MonkeyPatch,
    networks: list[dict[str, Any]],
    default_network: str | None,
    expected: str | None,
) -> None:
    cloud.reply_to("GET", "/network/v2.0/networks", Reply(200, {"networks": networks}))
    backend = OpenStackBackend.from_settings(
        replace(openstack_settings(cloud.url, monkeypatch), default_network=default_network)
    )
    assert len(backend.list_networks()) == len(networks)
    if expected is not None:
        chosen = Catalog(backend).find_network(None, "p")
        assert chosen is not None
        assert chosen.name == expected
        return
    with pytest.raises(errors.NetworkAmbiguous):
        Catalog(backend).find_network(None, "p")
