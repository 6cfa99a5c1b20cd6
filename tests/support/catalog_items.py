"""Flavors, images and networks as Nova, Glance and Neutron send them, in the fake OpenStack."""

from typing import Any
from uuid import NAMESPACE_URL, uuid5

from tests.support.fake_openstack import NOVA_PATH, FakeOpenStack, Reply

OWN, OTHER, THIRD = "p", "project-a", "project-b"
"""Keystone projects; the account of vmapi belongs to `OWN`."""

FLAVORS_PATH = f"{NOVA_PATH}/flavors/detail"
IMAGES_PATH = "/image/v2/images"
NETWORKS_PATH = "/network/v2.0/networks"
POLICIES_PATH = "/network/v2.0/rbac-policies"
NO_IMAGE = Reply(404, "<html>No image found</html>", {"X-Openstack-Request-Id": "req-glance"})
FORBIDDEN_PAGE = Reply(403, {"forbidden": {"code": 403, "message": "Policy doesn't allow it."}})

Json = dict[str, Any]


def uuid_of(name: str) -> str:
    """Return the id of an item, which is the same in each run."""
    return str(uuid5(NAMESPACE_URL, name))


def flavor(name: str, *, is_public: bool = True, flavor_id: str = "") -> Json:
    """Return a flavor."""
    sizes = {"vcpus": 1, "ram": 512, "disk": 1}
    access = {"os-flavor-access:is_public": is_public}
    return {"id": flavor_id or uuid_of(name), "name": name, **sizes, **access}


def image(name: str, owner: str, visibility: str, **members: Any) -> Json:
    """Return an active image."""
    about = {"owner": owner, "visibility": visibility, "status": "active"}
    return {"id": uuid_of(name), "name": name, **about, **members}


def network(name: str, project: str, *, is_shared: bool = False, **members: Any) -> Json:
    """Return a network."""
    about = {"project_id": project, "shared": is_shared}
    return {"id": uuid_of(name), "name": name, **about, **members}


def serve_flavors(cloud: FakeOpenStack, *flavors: Json, access: dict[str, list[str]]) -> None:
    """Serve flavors, and the access lists of private ones by name."""
    cloud.reply_to("GET", FLAVORS_PATH, Reply(200, {"flavors": list(flavors)}))
    for item in flavors:
        entries = [{"tenant_id": project} for project in access.get(item["name"], ())]
        path = f"{NOVA_PATH}/flavors/{item['id']}/os-flavor-access"
        cloud.reply_to("GET", path, Reply(200, {"flavor_access": entries}))


def serve_images(
    cloud: FakeOpenStack,
    *listed: Json,
    unlisted: tuple[Json, ...] = (),
    members: dict[str, dict[str, str]],
) -> None:
    """Serve images, all by id, and the members of shared ones by name: a status by project."""
    cloud.reply_to("GET", IMAGES_PATH, Reply(200, {"images": list(listed)}))
    for item in (*listed, *unlisted):
        path = f"{IMAGES_PATH}/{item['id']}"
        cloud.reply_to("GET", path, Reply(200, item))
        statuses = members.get(item["name"], {})
        entries = [{"member_id": id_, "status": status} for id_, status in statuses.items()]
        cloud.reply_to("GET", f"{path}/members", Reply(200, {"members": entries}))


def serve_networks(
    cloud: FakeOpenStack, *networks: Json, policies: dict[str, list[str]] | None
) -> None:
    """Serve networks, and the targets of sharing policies by name; None for no policies."""
    cloud.reply_to("GET", NETWORKS_PATH, Reply(200, {"networks": list(networks)}))
    entries = [
        {"object_id": uuid_of(name), "target_tenant": target}
        for name, targets in (policies or {}).items()
        for target in targets
    ]
    reply = FORBIDDEN_PAGE if policies is None else Reply(200, {"rbac_policies": entries})
    cloud.reply_to("GET", POLICIES_PATH, reply)
