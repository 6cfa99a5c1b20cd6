"""Flavors, images and networks of several projects, which the cloud's admin creates for a test."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.support.live.api_script import RUN_LABEL

IMAGE_CONTENT = b"a live test of vmapi"


@dataclass
class CatalogFixtures:
    """Creates items with the SDK of a project, and deletes them."""

    admin: Any
    _deletions: list[Callable[[], Any]] = field(default_factory=list)

    def create_flavor(self, name: str, project: str | None) -> str:
        """Create a private flavor with access for a project, and return its id."""
        compute = self.admin.compute
        sizes = {"ram": 64, "vcpus": 1, "disk": 1}
        flavor = compute.create_flavor(name=label(name), is_public=False, **sizes)
        self._deletions.append(partial(compute.delete_flavor, flavor))
        if project is not None:
            compute.flavor_add_tenant_access(flavor, project)
        return str(flavor.id)

    def create_image(self, sdk: Any, name: str, visibility: str, **members: Any) -> str:
        """Create an active image, and return its id."""
        formats = {"disk_format": "raw", "container_format": "bare"}
        body = {"name": name, "visibility": visibility, **formats, **members}
        image_id = str(sdk.image.post("/images", json=body).json()["id"])
        self._deletions.append(partial(sdk.image.delete, f"/images/{image_id}"))
        headers = {"Content-Type": "application/octet-stream"}
        sdk.image.put(f"/images/{image_id}/file", data=IMAGE_CONTENT, headers=headers)
        return image_id

    def share_image(self, owner: Any, image_id: str, member: Any, *, is_accepted: bool) -> None:
        """Share an image with the project of another SDK, which accepts it or not."""
        path, project = f"/images/{image_id}/members", member.session.get_project_id()
        owner.image.post(path, json={"member": project})
        if is_accepted:
            member.image.put(f"{path}/{project}", json={"status": "accepted"})

    def create_network(self, sdk: Any, name: str, target: str | None) -> str:
        """Create a network that is shared with a project, and return its id."""
        network = sdk.network.create_network(name=label(name))
        self._deletions.append(partial(self.admin.network.delete_network, network))
        if target is not None:
            self.admin.network.create_rbac_policy(
                object_type="network",
                object_id=network.id,
                action="access_as_shared",
                target_project_id=target,
            )
        return str(network.id)

    def delete_all(self) -> None:
        """Delete the items, the newest first."""
        for delete in reversed(self._deletions):
            delete()


@contextmanager
def catalog_fixtures(admin: Any) -> Iterator[CatalogFixtures]:
    """Delete all items at the end of the block."""
    fixtures = CatalogFixtures(admin)
    try:
        yield fixtures
    finally:
        fixtures.delete_all()


def label(name: str) -> str:
    """Return a name that belongs to this run."""
    return f"{RUN_LABEL}-{name}"
