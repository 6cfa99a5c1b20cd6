"""The catalogs of two projects on a real cloud, with an admin's account: as the cloud's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest

from tests.support.live.api_script import ApiScript
from tests.support.live.catalog_fixtures import CatalogFixtures, catalog_fixtures, label
from vmapi import errors
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.services.catalog import Catalog
from vmapi.settings.settings import Settings

pytestmark = pytest.mark.live


@pytest.fixture
def fixtures(admin: Any) -> Iterator[CatalogFixtures]:
    with catalog_fixtures(admin) as fixtures:
        yield fixtures


@contextmanager
def catalog_of(devcloud: str, auth: str) -> Iterator[Catalog]:
    """Make the catalog of a vmapi with the account of the cloud's admin."""
    backend = OpenStackBackend.from_settings(Settings(os_cloud=f"{devcloud}-admin", auth=(auth,)))
    try:
        yield Catalog(backend)
    finally:
        backend.close()


def ids(items: Any) -> set[str]:
    return {item.id for item in items}


def test_private_flavor_is_offered_to_projects_with_access(
    devcloud: str, admin: Any, owner: Any, fixtures: CatalogFixtures
) -> None:
    project, own = (sdk.session.get_project_id() for sdk in (owner, admin))
    flavor_id = fixtures.create_flavor("private", project)
    fixtures.create_flavor("closed", None)
    with catalog_of(devcloud, "keystone") as catalog:
        assert ids(catalog.list_flavors(project)) == ids(owner.compute.flavors())
        assert flavor_id not in ids(catalog.list_flavors(own))
        assert catalog.find_flavor(label("private"), project).id == flavor_id
        with pytest.raises(errors.FlavorNotFound):
            catalog.find_flavor(flavor_id, own)


def test_images_are_offered_as_glance_offers_them(
    devcloud: str, admin: Any, owner: Any, fixtures: CatalogFixtures
) -> None:
    project = owner.session.get_project_id()
    created = {
        visibility: fixtures.create_image(admin, label(visibility), visibility)
        for visibility in ("private", "community", "shared", "public")
    }
    created["hidden"] = fixtures.create_image(owner, label("hidden"), "private", os_hidden=True)
    created["own"] = fixtures.create_image(owner, label("own"), "community")
    created["pending"] = fixtures.create_image(admin, label("pending"), "shared")
    fixtures.share_image(admin, created["shared"], owner, is_accepted=True)
    fixtures.share_image(admin, created["pending"], owner, is_accepted=False)
    with catalog_of(devcloud, "keystone") as catalog:
        assert ids(catalog.list_images(project)) == ids(owner.image.images())
        for name, image_id in created.items():
            if name == "private":
                with pytest.raises(errors.ImageNotFound):
                    catalog.find_image(image_id, project)
            else:
                assert catalog.find_image(image_id.upper(), project).name == label(name)


def test_image_named_like_an_id_is_not_booted(
    devcloud: str, owner: Any, fixtures: CatalogFixtures
) -> None:
    unknown_id, project = str(uuid4()), owner.session.get_project_id()
    fixtures.create_image(owner, unknown_id, "private")
    with catalog_of(devcloud, "keystone") as catalog, pytest.raises(errors.ImageNotFound):
        catalog.find_image(unknown_id, project)


def test_networks_are_offered_as_neutron_offers_them(
    devcloud: str, admin: Any, owner: Any, fixtures: CatalogFixtures
) -> None:
    project, own = (sdk.session.get_project_id() for sdk in (owner, admin))
    fixtures.create_network(admin, "for-project", project)
    for_account = fixtures.create_network(owner, "for-account", own)
    with catalog_of(devcloud, "keystone") as catalog:
        assert ids(catalog.list_networks(project)) == ids(owner.network.networks())
        assert for_account in ids(catalog.list_networks(own))
        assert for_account not in ids(catalog.list_networks("0" * 32))


def test_admin_account_without_keystone_tokens_offers_its_own_project(
    devcloud: str, admin: Any, owner: Any, fixtures: CatalogFixtures
) -> None:
    name = label("decoy")
    own_image = fixtures.create_image(admin, name, "private")
    decoy = fixtures.create_image(owner, name, "private")
    accepted = fixtures.create_image(owner, label("accepted"), "shared")
    fixtures.share_image(owner, accepted, admin, is_accepted=True)
    flavor_id = fixtures.create_flavor("foreign", owner.session.get_project_id())
    with catalog_of(devcloud, "token") as catalog:
        assert catalog.find_image(name, "web").id == own_image
        assert {own_image, accepted} <= ids(catalog.list_images("web"))
        assert decoy not in ids(catalog.list_images(None))
        assert flavor_id not in ids(catalog.list_flavors("web"))
        owned = {network.id for network in owner.network.networks() if not network.is_shared}
        assert not owned & ids(catalog.list_networks("web"))
        with pytest.raises(errors.ImageNotFound):
            catalog.find_image(decoy, "web")


def test_vm_of_an_unlisted_image_has_its_name(
    script: ApiScript, owner: Any, fixtures: CatalogFixtures
) -> None:
    hidden = fixtures.create_image(owner, label("hidden"), "private", os_hidden=True)
    vm_id = script.create_vm(image=hidden)
    vm = script.call("GET", f"/vms/{vm_id}", refresh=True).body
    assert vm["image"] == label("hidden")
