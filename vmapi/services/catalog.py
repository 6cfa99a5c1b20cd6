"""Find flavors, images and networks by id or name, as the clients of a project see them.

A private item is invisible to projects that may not use it.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from vmapi.backends.base import Backend
from vmapi.domain.access.project import Scope
from vmapi.domain.catalog import Flavor, Image, Network, Projects
from vmapi.domain.uuids import parse_uuid
from vmapi.errors import (
    FlavorNotFound,
    ImageAmbiguous,
    ImageNotFound,
    NetworkAmbiguous,
    NetworkNotFound,
    VmapiError,
)


class CatalogItem(Protocol):
    """A flavor, an image or a network."""

    @property
    def id(self) -> str:
        """The id, which is unique."""
        ...

    @property
    def name(self) -> str:
        """The name, which several items may share."""
        ...

    @property
    def projects(self) -> Projects | None:
        """The projects that may use the item; None for all projects."""
        ...


Item = TypeVar("Item", bound=CatalogItem)


class Catalog:
    """The catalog of the cloud. A name that the cached lists do not have refreshes them once."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def list_flavors(self, scope: Scope) -> Sequence[Flavor]:
        """List the flavors of a project, the smallest first."""
        flavors = _usable_in(scope, self._backend.list_flavors())
        return sorted(flavors, key=lambda flavor: (flavor.vcpus, flavor.ram_mb, flavor.name))

    def list_images(self, scope: Scope) -> Sequence[Image]:
        """List the images of a project by name."""
        images = _usable_in(scope, self._backend.list_images())
        return sorted(images, key=lambda image: (image.name, image.id))

    def list_networks(self, scope: Scope) -> Sequence[Network]:
        """List the networks of a project by name."""
        networks = _usable_in(scope, self._backend.list_networks())
        return sorted(networks, key=lambda network: (network.name, network.id))

    def find_flavor(self, id_or_name: str, project: str) -> Flavor:
        """Find a flavor. Raises FlavorNotFound."""
        flavors = _find(id_or_name, project, self._backend.list_flavors)
        return _the_only("flavor", id_or_name, flavors, FlavorNotFound, FlavorNotFound)

    def find_image(self, id_or_name: str, project: str) -> Image:
        """Find an image to boot from. Raises ImageNotFound, ImageAmbiguous."""
        if image_id := parse_uuid(id_or_name):
            images = self._find_image_by_id(image_id, project)
        else:
            images = _find(id_or_name, project, self._backend.list_images)
        image = _the_only("image", id_or_name, images, ImageNotFound, ImageAmbiguous)
        if image.status != "active":
            raise ImageNotFound(f"Image {id_or_name} is {image.status}, not active.")
        return image

    def find_network(self, id_or_name: str | None, project: str) -> Network | None:
        """Find a network; without a name the default network, or the only one.

        Return None if the project has no network. Raises NetworkNotFound, NetworkAmbiguous.
        """
        if id_or_name is not None:
            networks = _find(id_or_name, project, self._backend.list_networks)
            return _the_only("network", id_or_name, networks, NetworkNotFound, NetworkAmbiguous)
        networks = self.list_networks(project)
        candidates = [network for network in networks if network.default]
        candidates = candidates or [network for network in networks if not network.external]
        if networks and len(candidates) != 1:
            names = ", ".join(network.name or network.id for network in networks)
            detail = f"There are several networks; name one of: {names}."
            raise NetworkAmbiguous(detail)
        return next(iter(candidates), None)

    def _find_image_by_id(self, image_id: str, project: str) -> Sequence[Image]:
        """Return the image of an id, also one that no list has. Raises ImageNotFound."""
        listed = [image for image in self._backend.list_images() if image.id == image_id]
        return _usable_in(project, listed) or _usable_in(
            project, [self._backend.get_image(image_id)]
        )


def _usable_in(scope: Scope, items: Sequence[Item]) -> Sequence[Item]:
    """Return the items that a project may use; without a scope those of all projects."""
    return [item for item in items if _is_usable(item.projects, scope)]


def _is_usable(projects: Projects | None, scope: Scope) -> bool:
    if projects is None:
        return True
    return bool(projects) if scope is None else scope in projects


def _find(
    id_or_name: str, project: str, list_items: Callable[..., Sequence[Item]]
) -> Sequence[Item]:
    """Return the item of an id, else the items of a name, as far as a project may use them.

    Other users choose names: an id of another project, and an unknown UUID, are not taken as names.
    """
    item_id = parse_uuid(id_or_name)
    for refresh in (False, True):
        items = list_items(refresh=refresh)
        matches = [item for item in items if item.id in (id_or_name, item_id)]
        if not matches and item_id is None:
            matches = [item for item in items if item.name == id_or_name]
        if usable := _usable_in(project, matches):
            return usable
    return ()


def _the_only(
    kind: str,
    id_or_name: str,
    matches: Sequence[Item],
    not_found: type[VmapiError],
    ambiguous: type[VmapiError],
) -> Item:
    if not matches:
        raise not_found(f"There is no {kind} {id_or_name}.")
    if len(matches) > 1:
        ids = ", ".join(sorted(item.id for item in matches))
        detail = f"Several {kind}s are called {id_or_name}; give an id instead: {ids}."
        raise ambiguous(detail)
    return matches[0]
