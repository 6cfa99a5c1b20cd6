"""The JSON of flavors, images and networks as items of the catalog. Functions without state.

Nova API "Flavors", Glance API v2 "Images", Neutron API v2.0 "Networks".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import structlog

from vmapi.backends.openstack.connection.session import Json
from vmapi.backends.openstack.members import (
    MAX_ID_CHARS,
    MAX_NAME_CHARS,
    integer_member,
    text_member,
)
from vmapi.domain.catalog import Flavor, Image, Network, Projects
from vmapi.errors import BackendTimeout, BackendUnavailable

T = TypeVar("T")
log = structlog.get_logger("vmapi.openstack")


@dataclass(frozen=True, slots=True)
class GlanceImage:
    """An image, and the members that decide on its projects."""

    image: Image
    visibility: str
    owner: str


def map_items(kind: str, items: Sequence[Json], to_item: Callable[[Json], T]) -> list[T]:
    """Map each item of a list. An item that cannot be mapped is logged and left out.

    Raises BackendUnavailable and BackendTimeout of a request that `to_item` sends.
    """
    mapped = []
    for item in items:
        try:
            mapped.append(to_item(item))
        except (BackendUnavailable, BackendTimeout):
            raise
        except Exception as error:
            item_id = text_member(item, "id", MAX_ID_CHARS)
            log.warning("item of the cloud ignored", kind=kind, id=item_id, reason=str(error))
    return mapped


def to_flavor(flavor: Json, projects: Projects | None) -> Flavor:
    """Return a flavor. Raises ValueError without an id, a name or a size."""
    vcpus, ram_mb = integer_member(flavor, "vcpus"), integer_member(flavor, "ram")
    if vcpus is None or ram_mb is None:
        raise ValueError("the flavor has no valid size")
    disk_gb = integer_member(flavor, "disk") or 0
    name = required_text(flavor, "name")
    return Flavor(id_of(flavor), name, vcpus, ram_mb, disk_gb, projects)


def is_private_flavor(flavor: Json) -> bool:
    """Return whether only projects of an access list may use a flavor.

    A flavor is private if Nova does not say clearly that it is public.
    """
    return flavor.get("os-flavor-access:is_public") is not True


def to_glance_image(image: Json) -> GlanceImage:
    """Return an image that every project may use, and its owner. Raises ValueError without an id.

    The owner is empty where Glance names none.
    """
    image_id = id_of(image)
    return GlanceImage(
        Image(
            image_id,
            text_member(image, "name") or image_id,
            text_member(image, "status"),
            integer_member(image, "min_disk") or 0,
            integer_member(image, "min_ram") or 0,
        ),
        text_member(image, "visibility"),
        text_member(image, "owner", MAX_ID_CHARS),
    )


def to_network(network: Json, projects: Projects | None) -> Network:
    """Return a network. Raises ValueError without an id."""
    network_id, is_shared = id_of(network), bool(network.get("shared"))
    return Network(
        network_id,
        text_member(network, "name") or network_id,
        external=bool(network.get("router:external")) and not is_shared,
        projects=projects,
    )


def network_owner(network: Json) -> str:
    """Return the project of a network; empty where Neutron names none."""
    owners = (text_member(network, name, MAX_ID_CHARS) for name in ("project_id", "tenant_id"))
    return next(filter(None, owners), "")


def id_of(item: Json) -> str:
    """Return the id of an item. Raises ValueError for a missing or unstorable one."""
    item_id = required_text(item, "id")
    # a changed id would be the id of another item, or of none
    if item_id != item["id"]:
        raise ValueError("the id has characters that cannot be stored")
    return item_id


def required_text(item: Json, member: str) -> str:
    """Return a text. Raises ValueError for a missing or empty one."""
    if text := text_member(item, member, MAX_NAME_CHARS):
        return text
    raise ValueError(f"the member {member} is missing")
