"""VMs as the API shows them, and the requests of clients that concern them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from vmapi.domain.lifecycle import Action, Status, Task, allowed_actions
from vmapi.domain.selector import Selector

DELETED_VM_RETENTION = timedelta(hours=24)
"""How long lists show a deleted VM."""


@dataclass(frozen=True, slots=True)
class Address:
    """One IP address of a VM."""

    network: str
    ip: str
    #: 4 or 6
    version: int
    #: `fixed` or `floating`
    type: str


@dataclass(frozen=True, slots=True)
class Fault:
    """The reason why a VM is in ERROR."""

    #: a stable code of `vmapi.errors`
    code: str
    #: the message of the cloud
    message: str
    #: advice for the client
    hint: str


@dataclass(frozen=True, slots=True, weakref_slot=True)
class VM:
    """One virtual machine as observed once."""

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
    #: has run at least once: only then can a restart repair an ERROR
    launched: bool = True
    #: None while the cloud cannot report it; so are the sizes
    project: str | None = None
    vcpus: int | None = None
    ram_mb: int | None = None
    #: the create of the VM, from its tag in the cloud
    operation_id: str | None = None

    @property
    def allowed_actions(self) -> tuple[Action, ...]:
        """The actions that the VM accepts now."""
        return allowed_actions(self.status, self.task, locked=self.locked, launched=self.launched)

    @property
    def public_fields(self) -> tuple["VM", tuple[Action, ...]]:
        """All that the API shows: a change of it moves the revision."""
        # `launched` shows in the allowed actions only
        public = replace(self, launched=True, operation_id=None, vcpus=None, ram_mb=None)
        return public, self.allowed_actions

    @property
    def ip_address(self) -> str | None:
        """The preferred address: floating IPv4, else fixed IPv4, else IPv6."""
        ranked = sorted(self.addresses, key=lambda a: (a.version != 4, a.type != "floating"))
        return ranked[0].ip if ranked else None


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """A create as requested: names or ids, as the client wrote them."""

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
    """A create as a driver sends it: ids resolved, user data built."""

    name: str
    flavor_id: str
    image_id: str
    network_id: str | None
    metadata: Mapping[str, str]
    user_data: bytes | None = field(repr=False)
    key_name: str | None
    security_groups: tuple[str, ...]
    #: None: the server carries no project
    project: str | None = None


@dataclass(frozen=True, slots=True)
class VMPatch:
    """A PATCH: a new name, and metadata in which None removes a key (RFC 7396)."""

    name: str | None = None
    metadata: Mapping[str, str | None] = field(default_factory=dict)

    def applied_to(self, metadata: Mapping[str, str]) -> dict[str, str]:
        """Return the metadata after the patch."""
        merged = {**metadata, **self.metadata}
        return {key: value for key, value in merged.items() if value is not None}


@dataclass(frozen=True, slots=True)
class VMQuery:
    """Filters and order of VMs; a `name` that ends in `*` is a prefix."""

    statuses: frozenset[Status] = frozenset()
    name: str | None = None
    flavor: str | None = None
    image: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    updated_after: datetime | None = None
    selector: Selector | None = None
    sort: str = "-created_at"
