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


class Named(Protocol):
    """Anything with an id and a name."""

    @property
    def id(self) -> str:
        """Unique."""
        ...

    @property
    def name(self) -> str:
        """Perhaps not unique."""
        ...


class Owned(Protocol):
    """Anything that may be one project's alone."""

    @property
    def project(self) -> str | None:
        """Whose; None for everybody's."""
        ...


T = TypeVar("T", bound=Named)
Part = TypeVar("Part", bound=Owned)


class Catalog:
    """What a cloud offers. A name that is not remembered is looked for once more in the cloud."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def flavors(self) -> Sequence[Flavor]:
        """List the flavors, the smallest first."""
        return sorted(self._backend.flavors(), key=lambda f: (f.vcpus, f.ram_mb, f.name))

    def images(self, scope: Scope) -> Sequence[Image]:
        """List the images by name that a project may use."""
        return sorted(_of(scope, self._backend.images()), key=lambda i: (i.name, i.id))

    def networks(self, scope: Scope) -> Sequence[Network]:
        """List the networks by name that a project may use."""
        return sorted(_of(scope, self._backend.networks()), key=lambda n: (n.name, n.id))

    def flavor(self, wanted: str) -> Flavor:
        """Find a flavor. Raises FlavorNotFound."""
        return _find("flavor", wanted, self._backend.flavors, FlavorNotFound, FlavorNotFound)

    def image(self, wanted: str, project: str) -> Image:
        """Find an image to boot from. Raises ImageNotFound, ImageAmbiguous."""

        def every(*, fresh: bool) -> Sequence[Image]:
            return _of(project, self._backend.images(fresh=fresh))

        image = _find("image", wanted, every, ImageNotFound, ImageAmbiguous)
        if image.status != "active":
            raise ImageNotFound(f"Image {wanted} is {image.status}, not active.")
        return image

    def network(self, wanted: str | None, project: str) -> Network | None:
        """Find a network; where none is named the default one, or the only one there is.

        None where the project has none to choose from. Raises NetworkNotFound, NetworkAmbiguous.
        """

        def every(*, fresh: bool) -> Sequence[Network]:
            return _of(project, self._backend.networks(fresh=fresh))

        if wanted is not None:
            return _find("network", wanted, every, NetworkNotFound, NetworkAmbiguous)
        networks = self.networks(project)
        chosen = [network for network in networks if network.default]
        chosen = chosen or [network for network in networks if not network.external]
        if networks and len(chosen) != 1:
            names = ", ".join(network.name or network.id for network in networks)
            detail = f"There are several networks; name one of: {names}."
            raise NetworkAmbiguous(detail)
        return next(iter(chosen), None)


def _of(scope: Scope, items: Sequence[Part]) -> Sequence[Part]:
    return [item for item in items if scope is None or item.project in (None, scope)]


def _find(
    kind: str,
    wanted: str,
    offered: Callable[..., Sequence[T]],
    missing: type[VmapiError],
    ambiguous: type[VmapiError],
) -> T:
    for fresh in (False, True):
        items = offered(fresh=fresh)
        found = [i for i in items if i.id == wanted] or [i for i in items if i.name == wanted]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(sorted(item.id for item in found))
            detail = f"Several {kind}s are called {wanted}; give an id instead: {ids}."
            raise ambiguous(detail)
    raise missing(f"There is no {kind} {wanted}; GET /{kind}s lists what there is.")
