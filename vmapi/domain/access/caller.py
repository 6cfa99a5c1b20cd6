"""The caller of one request, and the idempotency key of the request."""

from dataclasses import dataclass, field, replace
from datetime import timedelta

from vmapi.domain.access.identity import CallerToken
from vmapi.domain.access.project import DEFAULT_PROJECT, Scope

IDEMPOTENCY_KEY_TTL = timedelta(hours=24)
"""How long a key stays bound to its operation; the API documents it."""

KEY_REUSED_DETAIL = "This idempotency key came with another request before; use a new one."

BULK_KEY_SEPARATOR = "\x1f"
"""Between a client's key and the id of a VM in a bulk action: no client can send it in a key."""


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A client's key for one change: a repeated request with it changes nothing.

    Keys of different callers or projects are different keys.
    """

    caller: str
    value: str
    #: a hash of the request: the key must not be used for another one
    fingerprint: str
    #: the project of the caller
    project: str = DEFAULT_PROJECT

    def for_vm(self, vm_id: str) -> "IdempotencyKey":
        """Return the key of the operation of one VM in a bulk action."""
        return replace(self, value=f"{self.value}{BULK_KEY_SEPARATOR}{vm_id}")

    @property
    def stored_values(self) -> tuple[str, ...]:
        """The stored keys that clients write as this one: `KEY VM_ID` is also that of a VM."""
        return self.value, BULK_KEY_SEPARATOR.join(self.value.rsplit(" ", 1))


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of one request, with the options of the request."""

    user: str
    request_id: str
    #: the project of the VMs that the caller creates
    project: str = DEFAULT_PROJECT
    #: the address of the client
    address: str = ""
    key: IdempotencyKey | None = None
    #: how long the response may wait for the end of the operation
    wait_seconds: int = 0
    #: entity tags of `If-Match`; the VM must have one of them, unless the set is empty
    if_match: frozenset[str] = frozenset()
    #: may see and change the VMs of every project
    all_projects: bool = False
    #: the token for the first step of a delegated operation
    caller_token: CallerToken | None = field(default=None, repr=False, compare=False)

    @property
    def scope(self) -> Scope:
        """The only project that the caller sees and changes; None for all projects."""
        return None if self.all_projects else self.project
