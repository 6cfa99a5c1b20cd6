"""The VM as the API shows it, and what a client asks of one."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from vmapi.domain.lifecycle import Action, Status, Task, allowed_actions

RESERVED_METADATA_PREFIX = "vmapi."
"""Metadata keys that begin so are vmapi's own: refused from clients, never shown."""

DELETED_VM_RETENTION = timedelta(hours=24)
"""How long lists show a deleted VM."""

MAX_METADATA_PAIRS = 127
"""Pairs that a client may have on a VM: of the 128 that Nova takes, one is ours."""


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a VM; `type` is `fixed` or `floating`, `version` 4 or 6."""

    network: str
    ip: str
    version: int
    type: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a VM is in ERROR: a stable code of `vmapi.errors`, the cloud's words, what to do."""

    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True, weakref_slot=True)
class VM:
    """One virtual machine as it was seen at one moment.

    `launched` tells whether it ever ran: only then can an ERROR be healed by a restart.
    `operation_id` is the create that made it, where the cloud shows that. `project` is whose it is,
    `vcpus` and `ram_mb` what it takes: None where the cloud cannot tell now. `forms` is for those
    who show it: what it looks like need not be made again for the same VM.
    """

    id: str
    name: str
    flavor: str
    image: str | None
    status: Status
    created_at: datetime
    updated_at: datetime
    backend_status: str
    task: Task | None = None
    addresses: tuple[Address, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    key_name: str | None = None
    security_groups: tuple[str, ...] = ()
    locked: bool = False
    fault: Fault | None = None
    launched: bool = True
    project: str | None = None
    vcpus: int | None = None
    ram_mb: int | None = None
    operation_id: str | None = None

    @property
    def allowed_actions(self) -> tuple[Action, ...]:
        """What would be accepted now."""
        return allowed_actions(self.status, self.task, locked=self.locked, launched=self.launched)

    @property
    def public_fields(self) -> tuple["VM", tuple[Action, ...]]:
        """What of it is shown, and to whom: that it ever ran shows only in what is allowed."""
        face = replace(self, launched=True, operation_id=None, vcpus=None, ram_mb=None)
        return face, self.allowed_actions

    @property
    def ip_address(self) -> str | None:
        """The address to reach it at: floating IPv4, else fixed IPv4, else an IPv6."""
        ranked = sorted(self.addresses, key=lambda a: (a.version != 4, a.type != "floating"))
        return ranked[0].ip if ranked else None


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """What a client asks for: names or ids, as written."""

    name: str
    flavor: str
    image: str
    network: str | None = None
    start: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    user_data: str | None = field(default=None, repr=False)
    ssh_keys: tuple[str, ...] = ()
    key_name: str | None = None
    security_groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CreateSpec:
    """What a driver is told to create: ids resolved, cloud-init data composed.

    Without a `project` the VM carries none.
    """

    name: str
    flavor_id: str
    image_id: str
    network_id: str | None
    metadata: Mapping[str, str]
    user_data: bytes | None = field(repr=False)
    key_name: str | None
    security_groups: tuple[str, ...]
    project: str | None = None


@dataclass(frozen=True, slots=True)
class VMPatch:
    """What a PATCH asks for: a new name, and metadata in which None removes a key (RFC 7396)."""

    name: str | None = None
    metadata: Mapping[str, str | None] = field(default_factory=dict)

    def applied_to(self, metadata: Mapping[str, str]) -> dict[str, str]:
        """Return the metadata after the change."""
        merged = {**metadata, **self.metadata}
        return {key: value for key, value in merged.items() if value is not None}


@dataclass(frozen=True, slots=True)
class VMQuery:
    """Which VMs are asked for, and in which order. A `name` ending in `*` is a prefix."""

    statuses: frozenset[Status] = frozenset()
    name: str | None = None
    flavor: str | None = None
    image: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    updated_after: datetime | None = None
    sort: str = "-created_at"
