"""What the cloud offers to build from, remembered for a minute."""

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from time import monotonic
from typing import Generic, TypeVar

from cachetools import TTLCache

from vmapi.backends.openstack.deadline import acquire_in_time
from vmapi.backends.openstack.errors import parsing
from vmapi.backends.openstack.pagination import list_all
from vmapi.backends.openstack.session import CloudSession, Json
from vmapi.domain.catalog import Flavor, Image, Network
from vmapi.errors import BackendUnavailable, VmapiError

CATALOG_CACHE_TTL = 60.0
"""Seconds for which a list is good."""
IMAGE_NAMES_TIMEOUT = 5.0
"""Seconds that a VM waits for the name of its image."""

PUBLIC_VISIBILITIES = ("public", "community")
"""Visibilities of the images that everybody may use."""

T = TypeVar("T")


class CachedList(Generic[T]):
    """One list, fetched by one thread at a time."""

    def __init__(self, fetch: Callable[[], Sequence[T]]) -> None:
        self._fetch = fetch
        self._cache: TTLCache[str, Sequence[T]] = TTLCache(1, CATALOG_CACHE_TTL)
        self._lock = Lock()
        self._is_invalidated = False

    def get(self, *, refresh: bool) -> Sequence[T]:
        """Return the list, from the cloud if it is not remembered."""
        try:
            with acquire_in_time(self._lock):
                items = None if refresh or self._is_invalidated else self._cache.get("items")
                if items is None:
                    self._is_invalidated = False
                    items = self._cache["items"] = self._fetch()
                return items
        except TimeoutError as late:
            raise BackendUnavailable("The cloud's lists are slow to come.") from late

    def invalidate(self) -> None:
        """Fetch the list anew next time."""
        self._is_invalidated = True


class CloudCatalog:
    """The flavors, images and networks. `default_network` is a name or an id.

    Where projects are kept `apart` it is told whose alone an image or a network is.
    """

    def __init__(
        self, session: CloudSession, default_network: str | None, *, multi_project: bool
    ) -> None:
        self._session = session
        self._default_network = default_network
        self._multi_project = multi_project
        self._flavors = CachedList(self._fetch_flavors)
        self._images = CachedList(self._fetch_images)
        self._networks = CachedList(self._fetch_networks)
        self._image_names: Mapping[str, str] = {}
        self._retry_image_names_at = 0.0

    def list_flavors(self, *, refresh: bool = False) -> Sequence[Flavor]:
        """Return every flavor of this project."""
        return self._flavors.get(refresh=refresh)

    def list_images(self, *, refresh: bool = False) -> Sequence[Image]:
        """Return every image that this project may see."""
        return self._images.get(refresh=refresh)

    def list_networks(self, *, refresh: bool = False) -> Sequence[Network]:
        """Return every network that this project may see."""
        return self._networks.get(refresh=refresh)

    def invalidate(self) -> None:
        """Ask the cloud again next time: it does not know what was remembered of it."""
        for shelf in (self._flavors, self._images, self._networks):
            shelf.invalidate()

    def get_image_names(self) -> Mapping[str, str]:
        """Return the name of each image by its id; the last known ones while Glance is away."""
        if monotonic() >= self._retry_image_names_at:
            try:
                with self._session.call_timeout(IMAGE_NAMES_TIMEOUT):
                    self._image_names = {image.id: image.name for image in self.list_images()}
            except VmapiError:
                self._retry_image_names_at = monotonic() + CATALOG_CACHE_TTL / 2
        return self._image_names

    def _fetch_flavors(self) -> Sequence[Flavor]:
        found = list_all(self._session, "compute", "/flavors/detail", "flavors")
        with parsing("compute"):
            return [
                Flavor(each["id"], each["name"], each["vcpus"], each["ram"], each["disk"])
                for each in found
            ]

    def _fetch_images(self) -> Sequence[Image]:
        found = list_all(self._session, "image", "/images", "images")
        with parsing("image"):
            return [self._to_image(each) for each in found]

    def _fetch_networks(self) -> Sequence[Network]:
        found = list_all(self._session, "network", "/networks", "networks")
        with parsing("network"):
            return [self._to_network(each) for each in found]

    def _to_image(self, given: Json) -> Image:
        name, disk, ram = given.get("name"), given.get("min_disk"), given.get("min_ram")
        return Image(
            given["id"],
            name or given["id"],
            given["status"],
            disk or 0,
            ram or 0,
            project=self._project_of(
                given, "owner", given.get("visibility") in PUBLIC_VISIBILITIES
            ),
        )

    def _to_network(self, given: Json) -> Network:
        return Network(
            given["id"],
            given["name"],
            default=self._default_network in (given["id"], given["name"]),
            external=bool(given.get("router:external")) and not given.get("shared"),
            project=self._project_of(given, "project_id", bool(given.get("shared"))),
        )

    def _project_of(self, given: Json, member: str, shared: bool) -> str | None:
        return str(given[member]) if self._multi_project and not shared else None
