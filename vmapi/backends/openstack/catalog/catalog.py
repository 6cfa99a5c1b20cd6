"""The flavors, images and networks of the cloud, with the projects that may use each.

Nova API "Flavors", Glance API v2 "Images", Neutron API v2.0 "Networks". The driver reads the
catalog; it invalidates the caches when Nova refuses an id that came from here. Invariants:

- The account of vmapi may be an admin's, which sees the items of every project. An item that is
  private is usable in its own projects only.
- An item that cannot be mapped is logged and left out: it costs no other item.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Generic, TypeVar
from urllib.parse import quote

from cachetools import TTLCache

from vmapi.backends.openstack.catalog.access import (
    EVERY_PROJECT,
    ImageMembers,
    read_flavor_projects,
    read_image_members,
    read_network_targets,
)
from vmapi.backends.openstack.catalog.image_names import ImageNames
from vmapi.backends.openstack.catalog.items import (
    GlanceImage,
    id_of,
    is_private_flavor,
    map_items,
    network_owner,
    to_flavor,
    to_glance_image,
    to_network,
)
from vmapi.backends.openstack.connection.deadline import acquire_in_time
from vmapi.backends.openstack.connection.pagination import list_all
from vmapi.backends.openstack.connection.session import CloudSession, Json
from vmapi.backends.openstack.failures.errors import parsing
from vmapi.backends.openstack.failures.exceptions import CatalogItemNotFound
from vmapi.domain.catalog import Flavor, Image, Network, Projects
from vmapi.domain.uuids import parse_uuid
from vmapi.errors import BackendUnavailable, ImageNotFound

PUBLIC = "public"
COMMUNITY = "community"
SHARED = "shared"

CATALOG_CACHE_TTL = 60.0
"""Seconds for which a list is cached: operators change flavors and images rarely."""

NO_MEMBERS: Mapping[str, Projects] = {}

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


@dataclass(frozen=True, slots=True)
class LimitedImages:
    """The images that were computed from a list and from members."""

    items: Sequence[GlanceImage]
    members: Mapping[str, Projects]
    images: Sequence[Image]


class CloudCatalog:
    """Lists the flavors, images and networks that the account of vmapi sees."""

    def __init__(
        self, session: CloudSession, default_network: str | None, *, multi_project: bool
    ) -> None:
        """Make an empty cache.

        `default_network` is a name or an id. With `multi_project`, projects are Keystone's, and a
        private item names them. Without it, every project of vmapi has the rights of the account's
        Keystone project.
        """
        self._session = session
        self._default_network = default_network
        self._multi_project = multi_project
        self._flavors = CachedList(self._fetch_flavors)
        self._images = CachedList(self._fetch_images)
        self._networks = CachedList(self._fetch_networks)
        self._members = ImageMembers(session)
        self._limited_images: LimitedImages | None = None
        self._image_names = ImageNames(session, self._list_glance_images, self._fetch_image)

    def list_flavors(self, *, refresh: bool = False) -> Sequence[Flavor]:
        """List all flavors."""
        return self._flavors.get(refresh=refresh)

    def list_images(self, *, refresh: bool = False) -> Sequence[Image]:
        """List all images but hidden ones; a community image is its owner's.

        As Glance does: any project can publish a community image of any name.
        """
        items = self._images.get(refresh=refresh)
        own_project = None if self._multi_project else self._session.project_id
        shared = [
            item.image.id
            for item in items
            if item.visibility == SHARED and item.owner != own_project
        ]
        members = self._members.get(shared, refresh=refresh) if shared else NO_MEMBERS
        known = self._limited_images
        if known is None or known.items is not items or known.members is not members:
            images = [self._limited(item, members) for item in items]
            known = self._limited_images = LimitedImages(items, members, images)
        return known.images

    def get_image(self, image_id: str) -> Image:
        """Fetch an image that Nova boots by its id: a community, hidden or pending one too.

        Raises ImageNotFound.
        """
        with self._session.call_timeout():
            item = self._fetch_image(image_id)
            members: Projects = frozenset()
            if item.visibility == COMMUNITY:
                item = replace(item, visibility=PUBLIC)
            elif item.visibility == SHARED:
                members = read_image_members(self._session, item.image.id)
            return self._limited(item, {item.image.id: members})

    def list_networks(self, *, refresh: bool = False) -> Sequence[Network]:
        """List all networks."""
        return self._networks.get(refresh=refresh)

    def invalidate(self) -> None:
        """Fetch every list again at its next use, because the cloud refused a cached id."""
        for cached_list in (self._flavors, self._images, self._networks):
            cached_list.invalidate()

    def get_image_names(self, servers: Iterable[Json]) -> Mapping[str, str]:
        """Return names by id for the images of servers; the last known ones while Glance fails."""
        return self._image_names.get(servers)

    def _fetch_flavors(self) -> Sequence[Flavor]:
        # an admin lists public flavors only, unless it asks for all; others may not ask
        query = {"is_public": "None"}
        flavors = list_all(self._session, "compute", "/flavors/detail", "flavors", query)
        return map_items("flavor", flavors, self._to_flavor)

    def _list_glance_images(self) -> Sequence[GlanceImage]:
        return self._images.get(refresh=False)

    def _fetch_images(self) -> Sequence[GlanceImage]:
        images = list_all(self._session, "image", "/images", "images")
        if self._multi_project:
            # Glance leaves out the community images of other owners than the account
            query = {"visibility": COMMUNITY}
            images += list_all(self._session, "image", "/images", "images", query)
        items = map_items("image", images, self._to_glance_image)
        return list({item.image.id: item for item in items}.values())

    def _fetch_image(self, image_id: str) -> GlanceImage:
        try:
            image = self._session.read("image", f"/images/{quote(image_id, safe='')}")
        except CatalogItemNotFound as error:
            raise ImageNotFound(f"There is no image {image_id}.") from error
        with parsing("image"):
            return self._to_glance_image(image)

    def _to_glance_image(self, image: Json) -> GlanceImage:
        item = to_glance_image(image)
        if item.visibility == PUBLIC:
            return item
        return replace(item, owner=self._known_owner("owner", item.owner))

    def _fetch_networks(self) -> Sequence[Network]:
        networks = list_all(self._session, "network", "/networks", "networks")
        targets = read_network_targets(self._session) if self._multi_project else {}
        items = map_items("network", networks, lambda network: self._to_network(network, targets))
        return [replace(item, default=self._is_default(item)) for item in items]

    def _is_default(self, network: Network) -> bool:
        if network_id := parse_uuid(self._default_network or ""):
            return network.id == network_id
        return self._default_network in (network.id, network.name)

    def _to_flavor(self, flavor: Json) -> Flavor:
        is_private = is_private_flavor(flavor)
        projects = read_flavor_projects(self._session, id_of(flavor)) if is_private else None
        return to_flavor(flavor, self._usable_by(projects))

    def _to_network(self, network: Json, targets: Mapping[str, Projects]) -> Network:
        target_projects = targets.get(id_of(network), frozenset())
        # an account that is no admin's reads no policies of other projects
        is_public = bool(network.get("shared")) and not target_projects
        if is_public or EVERY_PROJECT in target_projects:
            return to_network(network, None)
        owner = self._known_owner("project_id", network_owner(network))
        return to_network(network, self._usable_by(target_projects | {owner}))

    def _limited(self, item: GlanceImage, members: Mapping[str, Projects]) -> Image:
        """Return an image with the projects that may use it."""
        if item.visibility == PUBLIC:
            return item.image
        projects = members.get(item.image.id, frozenset()) | {item.owner}
        return replace(item.image, projects=self._usable_by(projects))

    def _known_owner(self, member: str, owner: str) -> str:
        """Return the owner. Without Keystone projects, an item without one is the account's."""
        if not owner and self._multi_project:
            raise ValueError(f"the member {member} is missing")
        return owner or self._session.project_id or ""

    def _usable_by(self, projects: Projects | None) -> Projects | None:
        """Return the projects of vmapi that may use an item of these Keystone projects."""
        if projects is None or self._multi_project:
            return projects
        return None if (self._session.project_id or "") in projects else frozenset()
