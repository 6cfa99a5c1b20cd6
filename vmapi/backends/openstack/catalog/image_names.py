"""The names of the images of servers, of images that no list has too.

Glance API v2 "List images" and "Show image". A read of VMs waits for names only a short time: a VM
is useful without the name of its image.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock
from time import monotonic

from cachetools import TTLCache

from vmapi.backends.openstack.catalog.items import GlanceImage
from vmapi.backends.openstack.connection.session import CloudSession, Json
from vmapi.backends.openstack.members import object_member, text_member
from vmapi.errors import ImageNotFound, VmapiError

IMAGE_NAMES_TIMEOUT = 5.0
"""Seconds that a read of VMs waits for the list of images."""

IMAGE_NAMES_RETRY_INTERVAL = 30.0
"""Seconds after a failure of Glance in which the last known names are used."""

NAME_LOOKUPS_TIMEOUT = 1.0
"""Seconds that a read of VMs waits for images that no list has; later reads look up the rest."""

UNLISTED_NAMES_TTL = 3600.0
"""Seconds for which the name of an unlisted image is cached, also the lack of one."""

MAX_UNLISTED_NAMES = 10_000


class ImageNames:
    """Finds the names of images. Thread-safe."""

    def __init__(
        self,
        session: CloudSession,
        list_images: Callable[[], Sequence[GlanceImage]],
        fetch_image: Callable[[str], GlanceImage],
    ) -> None:
        """`fetch_image` raises ImageNotFound for an unknown id."""
        self._session = session
        self._list_images = list_images
        self._fetch_image = fetch_image
        self._indexed_items: Sequence[GlanceImage] = ()
        self._listed: Mapping[str, str] = {}
        self._unlisted: TTLCache[str, str] = TTLCache(MAX_UNLISTED_NAMES, UNLISTED_NAMES_TTL)
        self._unlisted_lock = Lock()
        self._retry_at = 0.0

    def get(self, servers: Iterable[Json]) -> Mapping[str, str]:
        """Return names by id for the images of servers; the last known ones while Glance fails.

        The cost depends on the number of servers: neither list nor cache is copied.
        """
        image_ids = _image_ids(servers)
        if monotonic() >= self._retry_at:
            try:
                with self._session.call_timeout(IMAGE_NAMES_TIMEOUT):
                    self._index(self._list_images())
                self._fetch_unlisted(image_ids)
            except VmapiError:
                self._retry_at = monotonic() + IMAGE_NAMES_RETRY_INTERVAL
        listed = self._listed
        with self._unlisted_lock:
            names = {key: listed.get(key) or self._unlisted.get(key) for key in image_ids}
        return {key: name for key, name in names.items() if name}

    def _index(self, items: Sequence[GlanceImage]) -> None:
        if items is not self._indexed_items:
            self._listed = {item.image.id: item.image.name for item in items}
            self._indexed_items = items

    def _fetch_unlisted(self, image_ids: Iterable[str]) -> None:
        unlisted_ids = sorted(key for key in image_ids if key not in self._listed)
        with self._unlisted_lock:
            unknown_ids = [key for key in unlisted_ids if key not in self._unlisted]
        with self._session.call_timeout(NAME_LOOKUPS_TIMEOUT):
            for image_id in unknown_ids:
                try:
                    name = self._fetch_image(image_id).image.name
                except ImageNotFound:
                    name = image_id
                with self._unlisted_lock:
                    self._unlisted[image_id] = name


def _image_ids(servers: Iterable[Json]) -> set[str]:
    ids = (text_member(object_member(server, "image"), "id") for server in servers)
    return {image_id for image_id in ids if image_id}
