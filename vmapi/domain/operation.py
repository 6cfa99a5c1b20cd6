"""An operation: the record of one change, its plan, and how far it has come.

A step goes planned → sending (kept before the call) → sent (the cloud has it) → done or failed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from vmapi.domain.caller import IdempotencyKey
from vmapi.domain.identity import CallerToken
from vmapi.domain.lifecycle import Action, Verb
from vmapi.domain.project import DEFAULT_PROJECT
from vmapi.domain.vm import VM, CreateSpec, VMPatch


class OperationStatus(StrEnum):
    """How an operation stands; the last three are its ends."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SUPERSEDED = "superseded"


class StepState(StrEnum):
    """How far one call to the cloud has come."""

    PLANNED = "planned"
    DISPATCHING = "dispatching"
    ACCEPTED = "accepted"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Step:
    """One call to the cloud. `request_id` is the cloud's own, by which its outcome is found."""

    verb: Verb
    state: StepState = StepState.PLANNED
    request_id: str | None = None
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OperationError:
    """Why an operation failed, in the terms of `vmapi.errors`."""

    code: str
    detail: str
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Operation:
    """One change of one VM, as the database holds it.

    `revision` increments with every save: of two writers that read the same revision, one fails.
    """

    id: str
    action: Action
    steps: tuple[Step, ...]
    created_at: datetime
    requested_by: str
    request_id: str
    project: str = DEFAULT_PROJECT
    """The project of the VM."""
    address: str = ""
    """The address of the client."""
    vm_id: str | None = None
    status: OperationStatus = OperationStatus.PENDING
    error: OperationError | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    reserved_name: str | None = None
    """The name that a create or a rename gives to the VM."""
    vcpus: int | None = None
    ram_mb: int | None = None
    """The size of the VM of a create, for the quota."""
    is_delegated: bool = False
    """Whether the first step must be sent with the caller's token."""
    key: IdempotencyKey | None = None
    patch: VMPatch | None = field(default=None, repr=False)
    revision: int = 0

    @property
    def is_finished(self) -> bool:
        """Whether it is over."""
        return self.status not in (OperationStatus.PENDING, OperationStatus.RUNNING)

    @property
    def is_awaiting_outcome(self) -> bool:
        """Whether the cloud has just taken the present step on."""
        return self.step is not None and self.step.state is StepState.ACCEPTED

    @property
    def is_accepted(self) -> bool:
        """Whether the cloud is known to have taken the first step on."""
        return self.steps[0].state in (StepState.ACCEPTED, StepState.DONE)

    @property
    def requires_caller_token(self) -> bool:
        """Whether nobody but who has asked for it may send the present step."""
        return self.is_delegated and not self.is_accepted

    @property
    def step(self) -> Step | None:
        """The step to carry on with; None when all are done."""
        return next((step for step in self.steps if step.state is not StepState.DONE), None)

    @property
    def reference(self) -> dict[str, object]:
        """What a problem says of it: its id, and its VM's where that is known."""
        vm = {} if self.vm_id is None else {"vm_id": self.vm_id}
        return {"operation_id": self.id, **vm}

    def as_dispatching(self, now: datetime) -> "Operation":
        """Return the operation as it is from when its present step is about to be sent."""
        if self.step is None:
            return self
        begun = replace(self.step, state=StepState.DISPATCHING, started_at=now)
        started = self.started_at or now
        running = replace(self, status=OperationStatus.RUNNING, started_at=started)
        return running.with_step(begun)

    def with_step(self, step: Step) -> "Operation":
        """Return the operation with its present step put in another state."""
        plan = list(self.steps)
        plan[next(i for i, old in enumerate(plan) if old.state is not StepState.DONE)] = step
        return replace(self, steps=tuple(plan))


@dataclass(frozen=True, slots=True)
class NewOperation:
    """An operation with the data that only the process of the request has.

    None of this data is stored. An operation whose process dies before the first dispatch is
    therefore not sent by another process.
    """

    operation: Operation
    vm: VM
    """The VM before the change. For a create: the VM to show until the first observation."""
    spec: CreateSpec | None = field(default=None, repr=False)
    """The parameters of a create, with the client's user data."""
    caller_token: CallerToken | None = field(default=None, repr=False)
    """The token that the first step of a delegated operation needs."""
    vm_revision: int | None = None
    """The revision of the inventory row that `If-Match` requires."""


@dataclass(frozen=True, slots=True)
class OperationQuery:
    """Which operations are asked for; None means any."""

    vm_id: str | None = None
    action: Action | None = None
    status: OperationStatus | None = None
    key: IdempotencyKey | None = None
