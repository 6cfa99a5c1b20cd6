"""The catalog with Keystone projects: each project finds its usable items only."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.support.catalog_items import (
    FORBIDDEN_PAGE,
    IMAGES_PATH,
    NO_IMAGE,
    OTHER,
    OWN,
    POLICIES_PATH,
    THIRD,
    flavor,
    image,
    network,
    serve_flavors,
    serve_images,
    serve_networks,
    uuid_of,
)
from tests.support.fake_openstack import NOVA_PATH, FakeOpenStack, Reply, Stall
from vmapi import errors
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.services.catalog import Catalog
from vmapi.settings.settings import Settings


@pytest.fixture
def catalog(backend: OpenStackBackend) -> Catalog:
    return Catalog(backend)


def names(items: Any) -> set[str]:
    return {item.name for item in items}


def find(find_item: Callable[[str, str], Any], id_or_name: str, project: str) -> str | None:
    """Return the name of the item that a project finds; None if it finds none."""
    try:
        name: str = find_item(id_or_name, project).name
    except (errors.FlavorNotFound, errors.ImageNotFound, errors.NetworkNotFound):
        return None
    return name


def test_private_flavor_is_usable_by_projects_with_access(
    cloud: FakeOpenStack, catalog: Catalog
) -> None:
    private = flavor("private", is_public=False)
    closed = flavor("closed", is_public=False, flavor_id="7")
    access = {"private": [OTHER, THIRD]}
    serve_flavors(cloud, flavor("m1"), private, closed, access=access)
    for project, name in ((OTHER, "private"), (THIRD, "private"), (OWN, None)):
        assert names(catalog.list_flavors(project)) == {"m1", name} - {None}
        for id_or_name in ("private", private["id"]):
            assert find(catalog.find_flavor, id_or_name, project) == name
        assert find(catalog.find_flavor, "7", project) is None
    assert names(catalog.list_flavors(None)) == {"m1", "private"}
    assert any("is_public=None" in request.path for request in cloud.requests)


def test_flavor_of_an_unreadable_access_list_costs_no_other(
    cloud: FakeOpenStack, catalog: Catalog
) -> None:
    broken, gone = (flavor(name, is_public=False) for name in ("broken", "gone"))
    serve_flavors(cloud, broken, gone, flavor("m1"), access={})
    for item, reply in ((broken, Reply(200, {})), (gone, Reply(404, {"itemNotFound": {}}))):
        cloud.reply_to("GET", f"{NOVA_PATH}/flavors/{item['id']}/os-flavor-access", reply)
    assert names(catalog.list_flavors(OTHER)) == {"m1"}


def test_account_that_may_read_no_access_lists_uses_its_own_flavors(
    cloud: FakeOpenStack, catalog: Catalog
) -> None:
    private = flavor("private", is_public=False)
    serve_flavors(cloud, private, access={})
    path = f"{NOVA_PATH}/flavors/{private['id']}/os-flavor-access"
    cloud.reply_to("GET", path, FORBIDDEN_PAGE)
    assert find(catalog.find_flavor, "private", OWN) == "private"
    assert find(catalog.find_flavor, "private", OTHER) is None


def test_flavor_name_that_is_the_id_of_a_flavor_without_access_is_no_name(
    cloud: FakeOpenStack, catalog: Catalog
) -> None:
    private = flavor("private", is_public=False, flavor_id="7")
    serve_flavors(cloud, private, flavor("7"), access={"private": [OTHER]})
    assert find(catalog.find_flavor, "7", OTHER) == "private"
    assert find(catalog.find_flavor, "7", OWN) is None


ImageCase = tuple[str, dict[str, str], set[str], set[str]]


@pytest.mark.parametrize(
    "case",
    [
        ("public", {}, {OWN, OTHER, THIRD}, {OWN, OTHER, THIRD}),
        ("community", {}, {OWN}, {OWN, OTHER, THIRD}),
        ("private", {}, {OWN}, {OWN}),
        ("shared", {}, {OWN}, {OWN}),
        ("shared", {OTHER: "accepted", THIRD: "pending"}, {OWN, OTHER}, {OWN, OTHER, THIRD}),
        ("shared", {OTHER: "rejected"}, {OWN}, {OWN, OTHER}),
    ],
)
@pytest.mark.parametrize("is_listed", [True, False])
def test_image_is_usable_as_glance_allows(
    cloud: FakeOpenStack, catalog: Catalog, is_listed: bool, case: ImageCase
) -> None:
    visibility, members, listed_for, found_by_id_for = case
    item = image("debian", OWN, visibility)
    listed, unlisted = ((item,), ()) if is_listed else ((), (item,))
    serve_images(cloud, *listed, unlisted=unlisted, members={"debian": members})
    for project in (OWN, OTHER, THIRD):
        is_visible = is_listed and project in listed_for
        assert names(catalog.list_images(project)) == ({"debian"} if is_visible else set())
        assert find(catalog.find_image, "debian", project) == ("debian" if is_visible else None)
        expected = "debian" if project in found_by_id_for else None
        for image_id in (item["id"], item["id"].upper(), item["id"].replace("-", "")):
            assert find(catalog.find_image, image_id, project) == expected


def test_images_are_listed_with_the_community_images_of_other_owners(
    cloud: FakeOpenStack, catalog: Catalog
) -> None:
    serve_images(cloud, image("debian", OTHER, "community"), members={})
    assert [item.name for item in catalog.list_images(OTHER)] == ["debian"]
    assert any(request.path == f"{IMAGES_PATH}?visibility=community" for request in cloud.requests)


def test_flavor_without_the_member_of_its_access_is_private(
    cloud: FakeOpenStack, catalog: Catalog
) -> None:
    silent = flavor("silent")
    del silent["os-flavor-access:is_public"]
    serve_flavors(cloud, silent, access={"silent": [OTHER]})
    assert names(catalog.list_flavors(OTHER)) == {"silent"}
    assert names(catalog.list_flavors(THIRD)) == set()


@pytest.mark.parametrize("is_public", [False, None, "true", 1])
def test_flavor_that_is_not_clearly_public_is_private(
    cloud: FakeOpenStack, catalog: Catalog, is_public: Any
) -> None:
    serve_flavors(cloud, flavor("m1", is_public=is_public), access={"m1": [OTHER]})
    assert find(catalog.find_flavor, "m1", OTHER) == "m1"
    assert find(catalog.find_flavor, "m1", OWN) is None


def test_image_that_is_not_active_is_refused_by_id(cloud: FakeOpenStack, catalog: Catalog) -> None:
    hidden = image("hidden", OTHER, "private", status="queued", os_hidden=True)
    serve_images(cloud, unlisted=(hidden,), members={})
    with pytest.raises(errors.ImageNotFound, match="is queued, not active"):
        catalog.find_image(hidden["id"], OTHER)


def test_unknown_image_id_is_never_a_name(cloud: FakeOpenStack, catalog: Catalog) -> None:
    unknown_id = uuid_of("unknown")
    for decoy in (unknown_id, unknown_id.upper(), unknown_id.replace("-", "")):
        serve_images(cloud, image(decoy, OTHER, "public"), members={})
        cloud.reply_to("GET", f"{IMAGES_PATH}/{unknown_id}", NO_IMAGE)
        assert find(catalog.find_image, decoy, OTHER) is None


def test_unknown_flavor_or_network_id_is_never_a_name(
    cloud: FakeOpenStack, catalog: Catalog
) -> None:
    unknown_id = uuid_of("unknown")
    serve_flavors(cloud, flavor(unknown_id), access={})
    serve_networks(cloud, network(unknown_id, OTHER), policies={})
    assert find(catalog.find_flavor, unknown_id, OTHER) is None
    with pytest.raises(errors.NetworkNotFound):
        catalog.find_network(unknown_id, OTHER)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(404, "no such route"), errors.BackendError),
        (Reply(404, {"message": "no such route"}, is_marked=False), errors.BackendError),
        (Reply(200, "<html>Please log in</html>"), errors.BackendError),
        (Reply(500), errors.BackendError),
        (Reply(503), errors.BackendUnavailable),
    ],
)
def test_only_glance_says_that_an_image_does_not_exist(
    cloud: FakeOpenStack, catalog: Catalog, reply: Reply, error: type[errors.VmapiError]
) -> None:
    serve_images(cloud, members={})
    cloud.reply_to("GET", f"{IMAGES_PATH}/{uuid_of('x')}", reply)
    with pytest.raises(error):
        catalog.find_image(uuid_of("x"), OWN)


def test_newly_accepted_image_is_found_by_name(cloud: FakeOpenStack, catalog: Catalog) -> None:
    shared = image("shared", OWN, "shared")
    serve_images(cloud, shared, members={"shared": {OTHER: "pending"}})
    assert find(catalog.find_image, "shared", OTHER) is None
    serve_images(cloud, shared, members={"shared": {OTHER: "accepted"}})
    assert find(catalog.find_image, "shared", OTHER) == "shared"
    before = len(cloud.requests)
    assert find(catalog.find_image, "shared", OTHER) == "shared"
    assert len(cloud.requests) == before


def test_network_is_usable_by_the_targets_of_its_policies(
    cloud: FakeOpenStack, catalog: Catalog
) -> None:
    serve_networks(
        cloud,
        network("own", OTHER),
        network("for-one", OWN, is_shared=False),
        network("for-the-account", THIRD, is_shared=True),
        network("for-all", OWN, is_shared=True, **{"router:external": True}),
        policies={"for-one": [OTHER], "for-the-account": [OWN], "for-all": ["*", OWN]},
    )
    assert names(catalog.list_networks(OTHER)) == {"own", "for-one", "for-all"}
    assert names(catalog.list_networks(OWN)) == {"for-one", "for-the-account", "for-all"}
    assert names(catalog.list_networks(THIRD)) == {"for-the-account", "for-all"}
    assert len(catalog.list_networks(None)) == 4


@pytest.mark.parametrize("policies", [None, {}])
def test_shared_network_without_readable_policies_is_public(
    cloud: FakeOpenStack, catalog: Catalog, policies: dict[str, list[str]] | None
) -> None:
    networks = network("own", OWN), network("shared", OWN, is_shared=True)
    serve_networks(cloud, *networks, policies=policies)
    assert names(catalog.list_networks(OTHER)) == {"shared"}


@pytest.mark.parametrize(
    "reply", [Reply(500), Reply(502, "bad gateway"), Reply(504), Reply(200, []), Stall(0.1)]
)
def test_network_for_one_project_is_not_shared_while_policies_are_unreadable(
    cloud: FakeOpenStack, catalog: Catalog, reply: Reply | Stall
) -> None:
    policies = {"for-one": [OTHER]}
    serve_networks(cloud, network("for-one", OWN, is_shared=True), policies=policies)
    cloud.reply_to("GET", POLICIES_PATH, reply)
    with pytest.raises(errors.BackendFailure):
        catalog.list_networks(THIRD)
    serve_networks(cloud, network("for-one", OWN, is_shared=True), policies=policies)
    assert names(catalog.list_networks(THIRD)) == set()
    assert names(catalog.list_networks(OTHER)) == {"for-one"}


def test_shared_network_is_public_where_neutron_has_no_policies(
    cloud: FakeOpenStack, catalog: Catalog
) -> None:
    serve_networks(cloud, network("shared", OWN, is_shared=True), policies=None)
    cloud.reply_to("GET", POLICIES_PATH, NO_IMAGE)
    assert names(catalog.list_networks(OTHER)) == {"shared"}


def test_default_network_is_the_only_one_of_the_project(
    cloud: FakeOpenStack, catalog: Catalog
) -> None:
    first, second = network("net", OTHER), {**network("net", OWN), "id": uuid_of("second")}
    outside = network("outside", THIRD, **{"router:external": True})
    serve_networks(cloud, first, second, outside, policies={})
    for project, item in ((OTHER, first), (OWN, second)):
        for name in (None, "net"):
            result = catalog.find_network(name, project)
            assert result is not None
            assert result.id == item["id"]
    assert catalog.find_network(None, "unknown") is None


def test_default_network_id_is_never_a_name(
    cloud: FakeOpenStack, keystone_settings: Settings
) -> None:
    default_id = uuid_of("net")
    settings = replace(keystone_settings, default_network=default_id)
    backend = OpenStackBackend.from_settings(settings)
    serve_networks(cloud, network("net", OWN), network(default_id, OWN), policies={})
    result = Catalog(backend).find_network(None, OWN)
    assert result is not None
    assert result.name == "net"
    backend.close()
