"""The flavors, images and networks of the cloud, cached for a minute.

Nova API "Flavors", Glance API v2 "Images", Neutron API v2.0 "Networks". The driver reads the
catalog; it invalidates the cache when Nova refuses an id that came from here. An item that cannot
be mapped is logged and left out: it costs no other item.
"""

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from time import monotonic
from typing import Generic, TypeVar

import structlog
from cachetools import TTLCache

from vmapi.backends.openstack.deadline import acquire_in_time
from vmapi.backends.openstack.members import (
    MAX_ID_CHARS,
    MAX_NAME_CHARS,
    integer_member,
    text_member,
)
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
log = structlog.get_logger("vmapi.openstack")


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
        return map_items("flavor", flavors, _to_flavor)

    def _fetch_images(self) -> Sequence[Image]:
        images = list_all(self._session, "image", "/images", "images")
        return map_items("image", images, self._to_image)

    def _fetch_networks(self) -> Sequence[Network]:
        networks = list_all(self._session, "network", "/networks", "networks")
        return map_items("network", networks, self._to_network)

    def _to_image(self, image: Json) -> Image:
        image_id = _id_of(image)
        is_public = text_member(image, "visibility") in PUBLIC_VISIBILITIES
        return Image(
            image_id,
            text_member(image, "name") or image_id,
            text_member(image, "status"),
            integer_member(image, "min_disk") or 0,
            integer_member(image, "min_ram") or 0,
            project=self._project_of(image, "owner", is_public=is_public),
        )

    def _to_network(self, network: Json) -> Network:
        network_id, is_shared = _id_of(network), bool(network.get("shared"))
        name = text_member(network, "name") or network_id
        return Network(
            network_id,
            name,
            default=self._default_network in (network_id, name),
            external=bool(network.get("router:external")) and not is_shared,
            project=self._project_of(network, "project_id", is_public=is_shared),
        )

    def _project_of(self, item: Json, member: str, *, is_public: bool) -> str | None:
        if not self._multi_project or is_public:
            return None
        return _required(item, member, MAX_ID_CHARS)


def map_items(kind: str, items: Sequence[Json], to_item: Callable[[Json], T]) -> list[T]:
    """Map each item of a list. An item that cannot be mapped is logged and left out."""
    mapped = []
    for item in items:
        try:
            mapped.append(to_item(item))
        except Exception as error:
            item_id = text_member(item, "id", MAX_ID_CHARS)
            log.warning("item of the cloud ignored", kind=kind, id=item_id, reason=str(error))
    return mapped


def _to_flavor(flavor: Json) -> Flavor:
    vcpus, ram_mb = integer_member(flavor, "vcpus"), integer_member(flavor, "ram")
    if vcpus is None or ram_mb is None:
        raise ValueError("the flavor has no valid size")
    disk_gb = integer_member(flavor, "disk") or 0
    return Flavor(_id_of(flavor), _required(flavor, "name"), vcpus, ram_mb, disk_gb)


def _id_of(item: Json) -> str:
    item_id = _required(item, "id")
    # a changed id would be the id of another item, or of none
    if item_id != item["id"]:
        raise ValueError("the id has characters that cannot be stored")
    return item_id


def _required(item: Json, member: str, max_chars: int = MAX_NAME_CHARS) -> str:
    if text := text_member(item, member, max_chars):
        return text
    raise ValueError(f"the member {member} is missing")
