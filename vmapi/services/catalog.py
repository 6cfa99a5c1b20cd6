"""Finding a flavor, an image or a network by what a client calls it: its id, or its name.

Images and networks that are one project's alone are not there for any other.
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
    """Anything with an id and a name."""

    @property
    def id(self) -> str:
        """Unique."""
        ...

    @property
    def name(self) -> str:
        """Perhaps not unique."""
        ...


class ProjectResource(Protocol):
    """Anything that may be one project's alone."""

    @property
    def project(self) -> str | None:
        """Whose; None for everybody's."""
        ...


T = TypeVar("T", bound=NamedResource)
Part = TypeVar("Part", bound=ProjectResource)


class Catalog:
    """What a cloud offers. A name that is not remembered is looked for once more in the cloud."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def list_flavors(self) -> Sequence[Flavor]:
        """List the flavors, the smallest first."""
        return sorted(self._backend.list_flavors(), key=lambda f: (f.vcpus, f.ram_mb, f.name))

    def list_images(self, scope: Scope) -> Sequence[Image]:
        """List the images by name that a project may use."""
        return sorted(_visible_to(scope, self._backend.list_images()), key=lambda i: (i.name, i.id))

    def list_networks(self, scope: Scope) -> Sequence[Network]:
        """List the networks by name that a project may use."""
        return sorted(
            _visible_to(scope, self._backend.list_networks()), key=lambda n: (n.name, n.id)
        )

    def find_flavor(self, id_or_name: str) -> Flavor:
        """Find a flavor. Raises FlavorNotFound."""
        return _find_by_id_or_name(
            "flavor", id_or_name, self._backend.list_flavors, FlavorNotFound, FlavorNotFound
        )

    def find_image(self, id_or_name: str, project: str) -> Image:
        """Find an image to boot from. Raises ImageNotFound, ImageAmbiguous."""

        def every(*, refresh: bool) -> Sequence[Image]:
            return _visible_to(project, self._backend.list_images(refresh=refresh))

        image = _find_by_id_or_name("image", id_or_name, every, ImageNotFound, ImageAmbiguous)
        if image.status != "active":
            raise ImageNotFound(f"Image {id_or_name} is {image.status}, not active.")
        return image

    def find_network(self, id_or_name: str | None, project: str) -> Network | None:
        """Find a network; where none is named the default one, or the only one there is.

        None where the project has none to choose from. Raises NetworkNotFound, NetworkAmbiguous.
        """

        def every(*, refresh: bool) -> Sequence[Network]:
            return _visible_to(project, self._backend.list_networks(refresh=refresh))

        if id_or_name is not None:
            return _find_by_id_or_name(
                "network", id_or_name, every, NetworkNotFound, NetworkAmbiguous
            )
        networks = self.list_networks(project)
        chosen = [network for network in networks if network.default]
        chosen = chosen or [network for network in networks if not network.external]
        if networks and len(chosen) != 1:
            names = ", ".join(network.name or network.id for network in networks)
            detail = f"There are several networks; name one of: {names}."
            raise NetworkAmbiguous(detail)
        return next(iter(chosen), None)


def _visible_to(scope: Scope, items: Sequence[Part]) -> Sequence[Part]:
    return [item for item in items if scope is None or item.project in (None, scope)]


def _find_by_id_or_name(
    kind: str,
    id_or_name: str,
    list_items: Callable[..., Sequence[T]],
    not_found: type[VmapiError],
    ambiguous: type[VmapiError],
) -> T:
    for fresh in (False, True):
        items = list_items(refresh=fresh)
        found = [i for i in items if i.id == id_or_name] or [
            i for i in items if i.name == id_or_name
        ]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(sorted(item.id for item in found))
            detail = f"Several {kind}s are called {id_or_name}; give an id instead: {ids}."
            raise ambiguous(detail)
    raise not_found(f"There is no {kind} {id_or_name}; GET /{kind}s lists what there is.")
