"""What the cloud offers to build from, remembered for a minute."""

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from time import monotonic
from typing import Generic, TypeVar

from cachetools import TTLCache

from vmapi.backends.openstack.deadline import holding
from vmapi.backends.openstack.errors import readable
from vmapi.backends.openstack.pagination import everything
from vmapi.backends.openstack.session import Json, Session
from vmapi.domain.catalog import Flavor, Image, Network
from vmapi.errors import BackendUnavailable, VmapiError

REMEMBERED = 60.0
"""Seconds for which a list is good."""
NAMING = 5.0
"""Seconds that a VM waits for the name of its image."""

FOR_ALL = ("public", "community")
"""Visibilities of the images that everybody may use."""

T = TypeVar("T")


class Shelf(Generic[T]):
    """One list, fetched by one thread at a time."""

    def __init__(self, fetch: Callable[[], Sequence[T]]) -> None:
        self._fetch = fetch
        self._kept: TTLCache[str, Sequence[T]] = TTLCache(1, REMEMBERED)
        self._lock = Lock()
        self._stale = False

    def items(self, *, fresh: bool) -> Sequence[T]:
        """Return the list, from the cloud if it is not remembered."""
        try:
            with holding(self._lock):
                items = None if fresh or self._stale else self._kept.get("items")
                if items is None:
                    self._stale = False
                    items = self._kept["items"] = self._fetch()
                return items
        except TimeoutError as late:
            raise BackendUnavailable("The cloud's lists are slow to come.") from late

    def forget(self) -> None:
        """Fetch the list anew next time."""
        self._stale = True


class Catalog:
    """The flavors, images and networks. `default_network` is a name or an id.

    Where projects are kept `apart` it is told whose alone an image or a network is.
    """

    def __init__(self, session: Session, default_network: str | None, *, apart: bool) -> None:
        self._session = session
        self._default_network = default_network
        self._apart = apart
        self._flavors = Shelf(self._fetch_flavors)
        self._images = Shelf(self._fetch_images)
        self._networks = Shelf(self._fetch_networks)
        self._names: Mapping[str, str] = {}
        self._names_until = 0.0

    def flavors(self, *, fresh: bool = False) -> Sequence[Flavor]:
        """Return every flavor of this project."""
        return self._flavors.items(fresh=fresh)

    def images(self, *, fresh: bool = False) -> Sequence[Image]:
        """Return every image that this project may see."""
        return self._images.items(fresh=fresh)

    def networks(self, *, fresh: bool = False) -> Sequence[Network]:
        """Return every network that this project may see."""
        return self._networks.items(fresh=fresh)

    def forget(self) -> None:
        """Ask the cloud again next time: it does not know what was remembered of it."""
        for shelf in (self._flavors, self._images, self._networks):
            shelf.forget()

    def image_names(self) -> Mapping[str, str]:
        """Return the name of each image by its id; the last known ones while Glance is away."""
        if monotonic() >= self._names_until:
            try:
                with self._session.within(NAMING):
                    self._names = {image.id: image.name for image in self.images()}
            except VmapiError:
                self._names_until = monotonic() + REMEMBERED / 2
        return self._names

    def _fetch_flavors(self) -> Sequence[Flavor]:
        found = everything(self._session, "compute", "/flavors/detail", "flavors")
        with readable("compute"):
            return [
                Flavor(each["id"], each["name"], each["vcpus"], each["ram"], each["disk"])
                for each in found
            ]

    def _fetch_images(self) -> Sequence[Image]:
        found = everything(self._session, "image", "/images", "images")
        with readable("image"):
            return [self._image(each) for each in found]

    def _fetch_networks(self) -> Sequence[Network]:
        found = everything(self._session, "network", "/networks", "networks")
        with readable("network"):
            return [self._network(each) for each in found]

    def _image(self, given: Json) -> Image:
        name, disk, ram = given.get("name"), given.get("min_disk"), given.get("min_ram")
        return Image(
            given["id"],
            name or given["id"],
            given["status"],
            disk or 0,
            ram or 0,
            project=self._owner(given, "owner", given.get("visibility") in FOR_ALL),
        )

    def _network(self, given: Json) -> Network:
        return Network(
            given["id"],
            given["name"],
            default=self._default_network in (given["id"], given["name"]),
            external=bool(given.get("router:external")) and not given.get("shared"),
            project=self._owner(given, "project_id", bool(given.get("shared"))),
        )

    def _owner(self, given: Json, member: str, shared: bool) -> str | None:
        return str(given[member]) if self._apart and not shared else None
