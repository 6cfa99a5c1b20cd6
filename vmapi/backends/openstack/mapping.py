"""The mapping of a server of Nova to a `VM`.

Nova API "Show Server Details", and the status, vm_state and task_state tables of Nova's
documentation. The driver calls `vm_from_server` for every server that it reads. Invariant: a server
of a cell that is down, of which Nova returns few members (microversion 2.69), maps to a VM too.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from vmapi.domain.lifecycle import Status, Task
from vmapi.domain.project import project_of
from vmapi.domain.vm import RESERVED_METADATA_PREFIX, VM, Address, Fault

Json = Mapping[str, Any]

STATUS_BY_NOVA_STATUS: Mapping[str, Status] = MappingProxyType(
    {
        "BUILD": Status.BUILDING,
        "REBUILD": Status.BUILDING,
        "ACTIVE": Status.RUNNING,
        "PASSWORD": Status.RUNNING,
        "REBOOT": Status.RUNNING,
        "HARD_REBOOT": Status.RUNNING,
        "RESCUE": Status.RUNNING,
        "RESIZE": Status.RUNNING,
        "VERIFY_RESIZE": Status.RUNNING,
        "REVERT_RESIZE": Status.RUNNING,
        "MIGRATING": Status.RUNNING,
        "SHUTOFF": Status.STOPPED,
        "SHELVED": Status.STOPPED,
        "SHELVED_OFFLOADED": Status.STOPPED,
        "PAUSED": Status.PAUSED,
        "SUSPENDED": Status.PAUSED,
        "DELETED": Status.DELETED,
        "SOFT_DELETED": Status.DELETED,
        "ERROR": Status.ERROR,
    }
)
"""Any other status, UNKNOWN too, becomes ERROR with a fault that names the status."""

TASK_BY_TASK_STATE: Mapping[str, Task] = MappingProxyType(
    {
        "powering-off": Task.STOPPING,
        "powering-on": Task.STARTING,
        "unshelving": Task.STARTING,
        "pausing": Task.PAUSING,
        "suspending": Task.PAUSING,
        "unpausing": Task.RESUMING,
        "resuming": Task.RESUMING,
        "deleting": Task.DELETING,
        "soft-deleting": Task.DELETING,
    }
)
SPAWNING_TASK_STATES = ("scheduling", "networking", "block_device_mapping", "spawning")

TASK_BY_STATUS: Mapping[str, Task] = MappingProxyType(
    {
        "BUILD": Task.CREATING,
        "REBOOT": Task.RESTARTING,
        "HARD_REBOOT": Task.RESTARTING,
        **dict.fromkeys(("REBUILD", "RESCUE", "RESIZE", "VERIFY_RESIZE"), Task.OTHER),
        **dict.fromkeys(("REVERT_RESIZE", "MIGRATING", "PASSWORD"), Task.OTHER),
    }
)
"""The task of a server without a task_state, by its Nova status."""

FAULT_PATTERNS = (
    (
        r"No valid host",
        "no_capacity",
        "Delete the VM and try a smaller flavor, or later; the cloud's operator can add room.",
    ),
    (
        r"Quota exceeded|Maximum number of|.*is over the limit",
        "quota_exceeded",
        "Delete the VM, then free some of the quota or ask the cloud's operator for more.",
    ),
    (
        r"Exceeded maximum number of retries|Build of instance",
        "build_failed",
        "Delete the VM and create it again; if that fails too, ask the cloud's operator.",
    ),
)
LAUNCHED_HINT = "Try a restart of type hard; if the VM stays in ERROR, ask the cloud's operator."
NEVER_LAUNCHED_HINT = "The VM never ran: delete it and create it again."
UNKNOWN_STATUS_HINT = "Read the VM again later; only the cloud's operator can find the reason."
UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

OPERATION_TAG_PREFIX = "vmapi.operation."
"""The prefix of the tag that holds the operation id of a create. Nova deletes the tags of a
deleted server."""


def vm_from_server(server: Json, image_names: Mapping[str, str], default_project: str | None) -> VM:
    """Return the VM for the JSON of a server.

    `image_names` maps image ids to names. `default_project` is the project of a server without
    project metadata; None stands for Keystone projects. Raises KeyError, TypeError, ValueError.
    """
    created = parse_time(server.get("created")) or UNIX_EPOCH
    flavor = server.get("flavor") or {}
    return VM(
        id=server["id"],
        name=server.get("name") or server["id"],
        flavor=flavor.get("original_name") or "",
        image=_image_name(server, image_names),
        status=STATUS_BY_NOVA_STATUS.get(_status(server), Status.ERROR),
        created_at=created,
        updated_at=parse_time(server.get("updated")) or created,
        backend_status=_status(server),
        task=_task(_status(server), server.get("OS-EXT-STS:task_state")),
        addresses=tuple(_addresses(server.get("addresses") or {})),
        metadata=_client_metadata(server.get("metadata") or {}),
        key_name=server.get("key_name"),
        security_groups=_security_groups(server),
        locked=bool(server.get("locked")),
        fault=_fault(server),
        launched=_is_launched(server),
        project=_project_of(server, default_project),
        vcpus=flavor.get("vcpus"),
        ram_mb=flavor.get("ram"),
        operation_id=_operation_id(server),
    )


def _security_groups(server: Json) -> tuple[str, ...]:
    # Nova repeats a group for each port
    return tuple(dict.fromkeys(group["name"] for group in server.get("security_groups") or ()))


def _operation_id(server: Json) -> str | None:
    tags = (tag for tag in server.get("tags") or () if tag.startswith(OPERATION_TAG_PREFIX))
    return next((tag.removeprefix(OPERATION_TAG_PREFIX) for tag in tags), None)


def parse_time(text: str | None) -> datetime | None:
    """Parse a time of Nova, which is in UTC with or without an offset."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None


def _status(server: Json) -> str:
    return str(server.get("status") or "UNKNOWN")


def _is_launched(server: Json) -> bool:
    return bool(server.get("OS-SRV-USG:launched_at"))


def _image_name(server: Json, names: Mapping[str, str]) -> str | None:
    image_id = (server.get("image") or {}).get("id")
    return names.get(image_id, image_id) if image_id else None


def _task(status: str, task_state: str | None) -> Task | None:
    if not task_state:
        return TASK_BY_STATUS.get(status)
    if task_state in SPAWNING_TASK_STATES and status == "BUILD":
        return Task.CREATING
    if task_state in SPAWNING_TASK_STATES and status.startswith("SHELVED"):
        return Task.STARTING
    if task_state.startswith("reboot"):
        return Task.RESTARTING
    return TASK_BY_TASK_STATE.get(task_state, Task.OTHER)


def _addresses(networks: Mapping[str, list[Json]]) -> Iterator[Address]:
    for network, addresses in networks.items():
        for address in addresses:
            kind = address.get("OS-EXT-IPS:type") or "fixed"
            yield Address(network, address["addr"], int(address["version"]), kind)


def _project_of(server: Json, default: str | None) -> str | None:
    if default is None:
        return server.get("tenant_id")
    project = project_of(server.get("metadata") or {}, "")
    # Nova may return no metadata of a deleted server, or of a server in a cell that is down
    is_deleted = STATUS_BY_NOVA_STATUS.get(_status(server)) is Status.DELETED
    return project or (None if is_deleted or "metadata" not in server else default)


def _client_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    return {
        key: text for key, text in metadata.items() if not key.startswith(RESERVED_METADATA_PREFIX)
    }


def _fault(server: Json) -> Fault | None:
    status = _status(server)
    if STATUS_BY_NOVA_STATUS.get(status, Status.ERROR) is not Status.ERROR:
        return None
    if status != "ERROR":
        return Fault(
            "backend_error", f"The cloud reports the status {status}.", UNKNOWN_STATUS_HINT
        )
    message = str((server.get("fault") or {}).get("message") or "").strip()
    for pattern, code, hint in FAULT_PATTERNS:
        if re.match(pattern, message):
            return Fault(code, message, hint)
    if not _is_launched(server):
        return Fault("build_failed", message or "The cloud gives no reason.", NEVER_LAUNCHED_HINT)
    return Fault("backend_error", message or "The cloud gives no reason.", LAUNCHED_HINT)
