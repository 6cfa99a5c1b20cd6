"""The flavors, images and networks of the cloud, cached for a minute.

Nova API "Flavors", Glance API v2 "Images", Neutron API v2.0 "Networks". The driver reads the
catalog; it invalidates the cache when Nova refuses an id that came from here.
"""

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
"""Seconds for which a list is cached: operators change flavors and images rarely."""

IMAGE_NAMES_TIMEOUT = 5.0
"""Seconds that a read of VMs waits for Glance: a VM is useful without the name of its image."""

PUBLIC_VISIBILITIES = ("public", "community")
"""Glance visibilities of the images that every project can use."""

T = TypeVar("T")


class CachedList(Generic[T]):
    """A cached list that one thread at a time fetches."""

    def __init__(self, fetch: Callable[[], Sequence[T]]) -> None:
        self._fetch = fetch
        self._cache: TTLCache[str, Sequence[T]] = TTLCache(1, CATALOG_CACHE_TTL)
        self._lock = Lock()
        self._is_invalidated = False

    def get(self, *, refresh: bool) -> Sequence[T]:
        """Return the list, fetched if it is not cached or `refresh` is set.

        Raises BackendUnavailable when the fetch of another thread takes longer than the deadline.
        """
        try:
            with acquire_in_time(self._lock):
                must_fetch = refresh or self._is_invalidated
                items = None if must_fetch else self._cache.get("items")
                if items is None:
                    self._is_invalidated = False
                    items = self._cache["items"] = self._fetch()
                return items
        except TimeoutError as error:
            raise BackendUnavailable("The cloud responds slowly with its catalog.") from error

    def invalidate(self) -> None:
        """Fetch the list at the next `get`."""
        self._is_invalidated = True


class CloudCatalog:
    """Lists the flavors, images and networks of the service project."""

    def __init__(
        self, session: CloudSession, default_network: str | None, *, multi_project: bool
    ) -> None:
        """Make an empty cache.

        `default_network` is a name or an id. With `multi_project`, images and networks that
        belong to one project say so.
        """
        self._session = session
        self._default_network = default_network
        self._multi_project = multi_project
        self._flavors = CachedList(self._fetch_flavors)
        self._images = CachedList(self._fetch_images)
        self._networks = CachedList(self._fetch_networks)
        self._image_names: Mapping[str, str] = {}
        self._retry_image_names_at = 0.0

    def list_flavors(self, *, refresh: bool = False) -> Sequence[Flavor]:
        """List all flavors that the service project can use."""
        return self._flavors.get(refresh=refresh)

    def list_images(self, *, refresh: bool = False) -> Sequence[Image]:
        """List all images that the service project can see."""
        return self._images.get(refresh=refresh)

    def list_networks(self, *, refresh: bool = False) -> Sequence[Network]:
        """List all networks that the service project can see."""
        return self._networks.get(refresh=refresh)

    def invalidate(self) -> None:
        """Fetch every list again at its next use, because the cloud refused a cached id."""
        for cached_list in (self._flavors, self._images, self._networks):
            cached_list.invalidate()

    def get_image_names(self) -> Mapping[str, str]:
        """Return the names of the images by id; the last known names while Glance fails."""
        if monotonic() >= self._retry_image_names_at:
            try:
                with self._session.call_timeout(IMAGE_NAMES_TIMEOUT):
                    self._image_names = {image.id: image.name for image in self.list_images()}
            except VmapiError:
                self._retry_image_names_at = monotonic() + CATALOG_CACHE_TTL / 2
        return self._image_names

    def _fetch_flavors(self) -> Sequence[Flavor]:
        flavors = list_all(self._session, "compute", "/flavors/detail", "flavors")
        with parsing("compute"):
            return [
                Flavor(flavor["id"], flavor["name"], flavor["vcpus"], flavor["ram"], flavor["disk"])
                for flavor in flavors
            ]

    def _fetch_images(self) -> Sequence[Image]:
        images = list_all(self._session, "image", "/images", "images")
        with parsing("image"):
            return [self._to_image(image) for image in images]

    def _fetch_networks(self) -> Sequence[Network]:
        networks = list_all(self._session, "network", "/networks", "networks")
        with parsing("network"):
            return [self._to_network(network) for network in networks]

    def _to_image(self, image: Json) -> Image:
        name, disk, ram = image.get("name"), image.get("min_disk"), image.get("min_ram")
        is_public = image.get("visibility") in PUBLIC_VISIBILITIES
        return Image(
            image["id"],
            name or image["id"],
            image["status"],
            disk or 0,
            ram or 0,
            project=self._project_of(image, "owner", is_public=is_public),
        )

    def _to_network(self, network: Json) -> Network:
        is_shared = bool(network.get("shared"))
        return Network(
            network["id"],
            network["name"],
            default=self._default_network in (network["id"], network["name"]),
            external=bool(network.get("router:external")) and not is_shared,
            project=self._project_of(network, "project_id", is_public=is_shared),
        )

    def _project_of(self, item: Json, member: str, *, is_public: bool) -> str | None:
        return str(item[member]) if self._multi_project and not is_public else None
