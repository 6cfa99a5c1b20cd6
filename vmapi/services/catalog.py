"""Finding a flavor, an image or a network by what a client calls it: its id, or its name."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from vmapi.backends.base import Backend
from vmapi.errors import (
    FlavorNotFound,
    ImageAmbiguous,
    ImageNotFound,
    NetworkAmbiguous,
    NetworkNotFound,
    VmapiError,
)
from vmapi.models.catalog import Flavor, Image, Network


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


T = TypeVar("T", bound=Named)


class Catalog:
    """What a cloud offers. A name that is not remembered is looked for once more in the cloud."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def flavors(self) -> Sequence[Flavor]:
        """List the flavors, the smallest first."""
        return sorted(self._backend.flavors(), key=lambda f: (f.vcpus, f.ram_mb, f.name))

    def images(self) -> Sequence[Image]:
        """List the images by name."""
        return sorted(self._backend.images(), key=lambda i: (i.name, i.id))

    def networks(self) -> Sequence[Network]:
        """List the networks by name."""
        return sorted(self._backend.networks(), key=lambda n: (n.name, n.id))

    def flavor(self, wanted: str) -> Flavor:
        """Find a flavor. Raises FlavorNotFound."""
        return _find("flavor", wanted, self._backend.flavors, FlavorNotFound, FlavorNotFound)

    def image(self, wanted: str) -> Image:
        """Find an image to boot from. Raises ImageNotFound, ImageAmbiguous."""
        image = _find("image", wanted, self._backend.images, ImageNotFound, ImageAmbiguous)
        if image.status != "active":
            raise ImageNotFound(f"Image {wanted} is {image.status}, not active.")
        return image

    def network(self, wanted: str | None) -> Network | None:
        """Find a network, or the default one; None where the cloud has none to choose from.

        Raises NetworkNotFound, NetworkAmbiguous.
        """
        if wanted is not None:
            every = self._backend.networks
            return _find("network", wanted, every, NetworkNotFound, NetworkAmbiguous)
        networks = self.networks()
        default = next((network for network in networks if network.default), None)
        if default is None and networks:
            names = ", ".join(network.name or network.id for network in networks)
            detail = f"There are several networks; name one of: {names}."
            raise NetworkAmbiguous(detail)
        return default


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
