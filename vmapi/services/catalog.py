"""Find flavors, images and networks by id or name, as the clients of a project see them.

An image or network that belongs to one project is invisible to all others.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from vmapi.backends.base import Backend
from vmapi.domain.catalog import Flavor, Image, Network
from vmapi.domain.project import Scope
from vmapi.errors import (
    FlavorNotFound,
    ImageAmbiguous,
    ImageNotFound,
    NetworkAmbiguous,
    NetworkNotFound,
    VmapiError,
)


class NamedResource(Protocol):
    """A resource with an id and a name."""

    @property
    def id(self) -> str:
        """The id, which is unique."""
        ...

    @property
    def name(self) -> str:
        """The name, which several resources may share."""
        ...


class ProjectResource(Protocol):
    """A resource that may belong to one project."""

    @property
    def project(self) -> str | None:
        """The owning project; None for a public resource."""
        ...


Named = TypeVar("Named", bound=NamedResource)
Owned = TypeVar("Owned", bound=ProjectResource)


class Catalog:
    """The catalog of the cloud. A name that the cached lists do not have refreshes them once."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def list_flavors(self) -> Sequence[Flavor]:
        """List the flavors, the smallest first."""
        flavors = self._backend.list_flavors()
        return sorted(flavors, key=lambda flavor: (flavor.vcpus, flavor.ram_mb, flavor.name))

    def list_images(self, scope: Scope) -> Sequence[Image]:
        """List the images of a project by name."""
        images = _visible_to(scope, self._backend.list_images())
        return sorted(images, key=lambda image: (image.name, image.id))

    def list_networks(self, scope: Scope) -> Sequence[Network]:
        """List the networks of a project by name."""
        networks = _visible_to(scope, self._backend.list_networks())
        return sorted(networks, key=lambda network: (network.name, network.id))

    def find_flavor(self, id_or_name: str) -> Flavor:
        """Find a flavor. Raises FlavorNotFound."""
        list_flavors = self._backend.list_flavors
        return _find_by_id_or_name(
            "flavor", id_or_name, list_flavors, FlavorNotFound, FlavorNotFound
        )

    def find_image(self, id_or_name: str, project: str) -> Image:
        """Find an image to boot from. Raises ImageNotFound, ImageAmbiguous."""

        def list_images(*, refresh: bool) -> Sequence[Image]:
            return _visible_to(project, self._backend.list_images(refresh=refresh))

        image = _find_by_id_or_name("image", id_or_name, list_images, ImageNotFound, ImageAmbiguous)
        if image.status != "active":
            raise ImageNotFound(f"Image {id_or_name} is {image.status}, not active.")
        return image

    def find_network(self, id_or_name: str | None, project: str) -> Network | None:
        """Find a network; without a name the default network, or the only one.

        Return None if the project has no network. Raises NetworkNotFound, NetworkAmbiguous.
        """

        def list_networks(*, refresh: bool) -> Sequence[Network]:
            return _visible_to(project, self._backend.list_networks(refresh=refresh))

        if id_or_name is not None:
            return _find_by_id_or_name(
                "network", id_or_name, list_networks, NetworkNotFound, NetworkAmbiguous
            )
        networks = self.list_networks(project)
        candidates = [network for network in networks if network.default]
        candidates = candidates or [network for network in networks if not network.external]
        if networks and len(candidates) != 1:
            names = ", ".join(network.name or network.id for network in networks)
            detail = f"There are several networks; name one of: {names}."
            raise NetworkAmbiguous(detail)
        return next(iter(candidates), None)


def _visible_to(scope: Scope, resources: Sequence[Owned]) -> Sequence[Owned]:
    return [item for item in resources if scope is None or item.project in (None, scope)]


def _find_by_id_or_name(
    kind: str,
    id_or_name: str,
    list_items: Callable[..., Sequence[Named]],
    not_found: type[VmapiError],
    ambiguous: type[VmapiError],
) -> Named:
    for refresh in (False, True):
        items = list_items(refresh=refresh)
        matches = [item for item in items if item.id == id_or_name]
        matches = matches or [item for item in items if item.name == id_or_name]
        if len(matches) == 1:
            return matches[0]
        if matches:
            ids = ", ".join(sorted(item.id for item in matches))
            detail = f"Several {kind}s are called {id_or_name}; give an id instead: {ids}."
            raise ambiguous(detail)
    raise not_found(f"There is no {kind} {id_or_name}.")
