"""The catalog of an admin's account without Keystone tokens: that of the account's own project."""

import pytest

from tests.support.catalog_items import (
    IMAGES_PATH,
    NO_IMAGE,
    OTHER,
    OWN,
    flavor,
    image,
    network,
    serve_flavors,
    serve_images,
    serve_networks,
    uuid_of,
)
from tests.support.fake_openstack import (
    SERVER_ID,
    SERVER_PATH,
    FakeOpenStack,
    Reply,
    server_reply,
)
from vmapi import errors
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.services.catalog import Catalog

SCOPES = ("web", None)


def test_images_of_other_projects_are_not_offered(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    decoy = {**image("debian", OTHER, "private"), "id": uuid_of("decoy")}
    serve_images(
        cloud,
        image("debian", OTHER, "public"),
        decoy,
        image("own", OWN, "private"),
        image("accepted", OTHER, "shared"),
        image("pending", OTHER, "shared"),
        image("not-for-us", OTHER, "shared"),
        image("community", OTHER, "community"),
        members={
            "accepted": {OWN: "accepted"},
            "pending": {OWN: "pending"},
            "not-for-us": {"project-b": "accepted"},
        },
    )
    catalog = Catalog(backend)
    for scope in SCOPES:
        assert [item.name for item in catalog.list_images(scope)] == ["accepted", "debian", "own"]
    assert catalog.find_image("debian", "web").id == uuid_of("debian")
    for name in ("pending", "community"):
        assert catalog.find_image(uuid_of(name), "web").name == name
        with pytest.raises(errors.ImageNotFound):
            catalog.find_image(name, "web")
    for id_or_name in ("not-for-us", uuid_of("not-for-us"), uuid_of("decoy")):
        with pytest.raises(errors.ImageNotFound):
            catalog.find_image(id_or_name, "web")


def test_networks_of_other_projects_are_not_offered(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    decoy = {**network("net", OTHER), "id": uuid_of("decoy")}
    shared = network("shared", OTHER, is_shared=True)
    serve_networks(cloud, network("net", OWN), decoy, shared, policies=None)
    catalog = Catalog(backend)
    for scope in SCOPES:
        assert [item.name for item in catalog.list_networks(scope)] == ["net", "shared"]
    result = catalog.find_network("net", "web")
    assert result is not None
    assert result.id == uuid_of("net")
    with pytest.raises(errors.NetworkNotFound):
        catalog.find_network(decoy["id"], "web")


def test_private_flavors_of_other_projects_are_not_offered(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    own, foreign = (flavor(name, is_public=False) for name in ("own", "foreign"))
    access = {"own": [OWN, OTHER], "foreign": [OTHER]}
    serve_flavors(cloud, flavor("m1"), own, foreign, access=access)
    catalog = Catalog(backend)
    for scope in SCOPES:
        assert {item.name for item in catalog.list_flavors(scope)} == {"m1", "own"}
    assert catalog.find_flavor("own", "web").id == own["id"]
    for id_or_name in ("foreign", foreign["id"]):
        with pytest.raises(errors.FlavorNotFound):
            catalog.find_flavor(id_or_name, "web")


def test_server_has_the_name_of_an_image_that_no_list_has(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    hidden = image("hidden", OTHER, "private")
    serve_images(cloud, unlisted=(hidden,), members={})
    cloud.reply_to("GET", SERVER_PATH, server_reply("ACTIVE", image={"id": hidden["id"]}))
    for _ in range(3):
        assert backend.get_vm(SERVER_ID).image == "hidden"
    assert cloud.count_requests("GET", f"{IMAGES_PATH}/{hidden['id']}") == 1


def test_server_of_a_deleted_image_shows_its_id(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    deleted_id = uuid_of("deleted")
    serve_images(cloud, members={})
    cloud.reply_to("GET", f"{IMAGES_PATH}/{deleted_id}", NO_IMAGE)
    cloud.reply_to("GET", SERVER_PATH, server_reply("ACTIVE", image={"id": deleted_id}))
    for _ in range(3):
        assert backend.get_vm(SERVER_ID).image == deleted_id
    assert cloud.count_requests("GET", f"{IMAGES_PATH}/{deleted_id}") == 1


@pytest.mark.parametrize("reply", [Reply(500), Reply(404, "no such route"), Reply(200, "x")])
def test_server_of_an_unreadable_image_shows_its_id(
    cloud: FakeOpenStack, backend: OpenStackBackend, reply: Reply
) -> None:
    serve_images(cloud, members={})
    cloud.reply_to("GET", f"{IMAGES_PATH}/{uuid_of('x')}", reply)
    cloud.reply_to("GET", SERVER_PATH, server_reply("ACTIVE", image={"id": uuid_of("x")}))
    assert backend.get_vm(SERVER_ID).image == uuid_of("x")
