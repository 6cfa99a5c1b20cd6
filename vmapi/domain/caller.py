"""The caller of one request, and the idempotency key of the request."""

from dataclasses import dataclass, field

from vmapi.domain.identity import CallerToken
from vmapi.domain.project import DEFAULT_PROJECT, Scope


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A caller's word for one change, and the fingerprint of the request that it came with.

    `project` is the caller's: in another one the same word is another key.
    """

    caller: str
    value: str
    fingerprint: str
    project: str = DEFAULT_PROJECT


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, from where, under which request id and key; `wait` is in seconds.

    For so long the answer may be held back. What is asked for is for a VM with one of the entity
    tags in `if_match`, where there are any. What a caller makes is its `project`'s; whether it may
    change what is others', `all_projects` says. With a `credential` it makes the first call of a
    change itself.
    """

    user: str
    request_id: str
    project: str = DEFAULT_PROJECT
    address: str = ""
    key: IdempotencyKey | None = None
    wait_seconds: int = 0
    if_match: frozenset[str] = frozenset()
    all_projects: bool = False
    caller_token: CallerToken | None = field(default=None, repr=False, compare=False)

    @property
    def scope(self) -> Scope:
        """The project whose VMs the caller may see and change; None for those of all."""
        return None if self.all_projects else self.project
