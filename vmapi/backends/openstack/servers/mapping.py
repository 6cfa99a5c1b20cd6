"""The mapping of a server of Nova to a `VM`.

Nova API "Show Server Details", and the status, vm_state and task_state tables of Nova's
documentation. The driver calls `vm_from_server` for every server that it reads. Invariant: a server
of a cell that is down, of which Nova returns few members (microversion 2.69), maps to a VM too.
Every text of the VM is storable; a member that is null or of a wrong type counts as missing.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from vmapi.backends.openstack.members import (
    MAX_NAME_CHARS,
    integer_member,
    list_member,
    object_member,
    object_of,
    text_member,
    texts_of,
    time_member,
)
from vmapi.domain.access.project import project_of
from vmapi.domain.lifecycle import Status, Task
from vmapi.domain.metadata import RESERVED_METADATA_PREFIX
from vmapi.domain.storable_text import storable_text
from vmapi.domain.timestamps import EPOCH
from vmapi.domain.uuids import UUID_REGEX
from vmapi.domain.vm import VM, Address, Fault

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
MAX_STATUS_CHARS = 64
MAX_FAULT_CHARS = 1000
"""Nova itself cuts the message of a fault to 255 characters."""

IP_VERSIONS = (4, 6)
ADDRESS_TYPES = ("fixed", "floating")
MAX_ADDRESS_CHARS = 45
"""The length of the longest IPv6 address."""

MAX_PROJECT_CHARS = 64
MAX_VM_ID_CHARS = 36
OPERATION_ID_PATTERN = re.compile(UUID_REGEX)

OPERATION_TAG_PREFIX = "vmapi.operation."
"""The prefix of the tag that holds the operation id of a create. Nova deletes the tags of a
deleted server."""


def vm_from_server(server: Json, image_names: Mapping[str, str], default_project: str | None) -> VM:
    """Return the VM for the JSON of a server.

    `image_names` maps image ids to names. `default_project` is the project of a server without
    project metadata; None stands for Keystone projects. Raises ValueError for a server without a
    valid id, or with a malformed time.
    """
    flavor = object_member(server, "flavor")
    return VM(
        id=_id_of(server),
        name=text_member(server, "name") or _id_of(server),
        flavor=text_member(flavor, "original_name"),
        image=_image_name(server, image_names),
        status=STATUS_BY_NOVA_STATUS.get(_status(server), Status.ERROR),
        created_at=_created_at(server),
        updated_at=time_member(server, "updated") or _created_at(server),
        backend_status=_status(server),
        task=_task(_status(server), _task_state(server)),
        addresses=tuple(_addresses(object_member(server, "addresses"))),
        metadata=_client_metadata(object_member(server, "metadata")),
        key_name=text_member(server, "key_name") or None,
        security_groups=_security_groups(server),
        locked=bool(server.get("locked")),
        fault=_fault(server),
        launched=_is_launched(server),
        project=_project_of(server, default_project),
        vcpus=integer_member(flavor, "vcpus"),
        ram_mb=integer_member(flavor, "ram"),
        operation_id=_operation_id(server),
    )


def _id_of(server: Json) -> str:
    vm_id = text_member(server, "id", MAX_VM_ID_CHARS)
    # a changed id would be the id of another server, or of none
    if vm_id and vm_id == server["id"]:
        return vm_id
    raise ValueError("the server has no valid id")


def _created_at(server: Json) -> datetime:
    return time_member(server, "created") or EPOCH


def _security_groups(server: Json) -> tuple[str, ...]:
    names = (text_member(group, "name") for group in list_member(server, "security_groups"))
    # Nova repeats a group for each port
    return tuple(dict.fromkeys(name for name in names if name))


def _operation_id(server: Json) -> str | None:
    tags = (tag for tag in list_member(server, "tags") if isinstance(tag, str))
    ids = (
        tag.removeprefix(OPERATION_TAG_PREFIX)
        for tag in tags
        if tag.startswith(OPERATION_TAG_PREFIX)
    )
    return next(filter(OPERATION_ID_PATTERN.fullmatch, ids), None)


def _status(server: Json) -> str:
    return text_member(server, "status", MAX_STATUS_CHARS) or "UNKNOWN"


def _task_state(server: Json) -> str | None:
    state = server.get("OS-EXT-STS:task_state")
    # a state that vmapi cannot read is some task: the VM is not settled
    return state if isinstance(state, str) else str(state) if state else None


def _is_launched(server: Json) -> bool:
    return bool(server.get("OS-SRV-USG:launched_at"))


def _image_name(server: Json, names: Mapping[str, str]) -> str | None:
    image_id = text_member(server.get("image"), "id")
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


def _addresses(networks: Json) -> Iterator[Address]:
    for network, addresses in networks.items():
        for address in addresses if isinstance(addresses, list) else ():
            ip, version = text_member(address, "addr", MAX_ADDRESS_CHARS), _version_of(address)
            if ip and version:
                kind = text_member(address, "OS-EXT-IPS:type")
                kind = kind if kind in ADDRESS_TYPES else ADDRESS_TYPES[0]
                yield Address(storable_text(network, MAX_NAME_CHARS), ip, version, kind)


def _version_of(address: Any) -> int | None:
    version = object_of(address).get("version")
    return next((known for known in IP_VERSIONS if version in (known, str(known))), None)


def _project_of(server: Json, default: str | None) -> str | None:
    if default is None:
        return text_member(server, "tenant_id", MAX_PROJECT_CHARS) or None
    project = project_of(texts_of(object_member(server, "metadata")), "")
    # Nova may return no metadata of a deleted server, or of a server in a cell that is down
    has_metadata = isinstance(server.get("metadata"), Mapping)
    is_deleted = STATUS_BY_NOVA_STATUS.get(_status(server)) is Status.DELETED
    return project or (None if is_deleted or not has_metadata else default)


def _client_metadata(metadata: Json) -> dict[str, str]:
    return {
        key: text
        for key, text in texts_of(metadata).items()
        if not key.startswith(RESERVED_METADATA_PREFIX)
    }


def _fault(server: Json) -> Fault | None:
    status = _status(server)
    if STATUS_BY_NOVA_STATUS.get(status, Status.ERROR) is not Status.ERROR:
        return None
    if status != "ERROR":
        return Fault(
            "backend_error", f"The cloud reports the status {status}.", UNKNOWN_STATUS_HINT
        )
    message = text_member(server.get("fault"), "message", MAX_FAULT_CHARS).strip()
    for pattern, code, hint in FAULT_PATTERNS:
        if re.match(pattern, message):
            return Fault(code, message, hint)
    if not _is_launched(server):
        return Fault("build_failed", message or "The cloud gives no reason.", NEVER_LAUNCHED_HINT)
    return Fault("backend_error", message or "The cloud gives no reason.", LAUNCHED_HINT)
