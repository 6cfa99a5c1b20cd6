"""Operations: one requested change of a VM, its steps and its progress.

A step goes planned → dispatching (saved before the call) → accepted (by the cloud) → done.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from vmapi.domain.access.caller import IdempotencyKey
from vmapi.domain.access.identity import CallerToken
from vmapi.domain.access.project import DEFAULT_PROJECT
from vmapi.domain.lifecycle import Action, Verb
from vmapi.domain.vm import VM, CreateSpec, VMPatch
from vmapi.errors import InternalError

CREATION_TIME_RESOLUTION = timedelta(seconds=1)
"""Clouds truncate the creation time of a VM to whole seconds."""


class OperationStatus(StrEnum):
    """The status of an operation; the last three are final."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SUPERSEDED = "superseded"


class StepState(StrEnum):
    """The progress of one call to the cloud."""

    PLANNED = "planned"
    DISPATCHING = "dispatching"
    ACCEPTED = "accepted"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Step:
    """One call to the cloud."""

    verb: Verb
    state: StepState = StepState.PLANNED
    #: the request id of the cloud, by which recovery finds the outcome
    request_id: str | None = None
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OperationError:
    """The error that ended an operation; `code` is one of `vmapi.errors`."""

    code: str
    detail: str
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CreateOrder:
    """The flavor and the image of a create, as the catalog names them.

    With the name of the VM, they show whether a server with the operation tag is of the create: any
    user of the cloud can copy a tag.
    """

    flavor: str
    image_name: str
    image_id: str
    """The inventory shows an image without a known name by its id."""

    def matches(self, vm: VM) -> bool:
        """Return whether a VM has the flavor and the image."""
        return vm.flavor == self.flavor and vm.image in (self.image_name, self.image_id)


@dataclass(frozen=True, slots=True)
class CreateWindow:
    """The time in which a create without a response can make a VM."""

    duration: timedelta
    """The time from the dispatch to the end of the window."""
    clock_offset: timedelta = timedelta(0)
    """The time of the cloud minus the time of vmapi."""

    def contains(self, dispatched_at: datetime, vm_created_at: datetime) -> bool:
        """Return whether a VM can come from a create that vmapi sent at a time."""
        age = vm_created_at - (dispatched_at + self.clock_offset)
        return -CREATION_TIME_RESOLUTION <= age <= self.duration


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
    order: CreateOrder | None = None
    """The flavor and the image of a create."""
    bulk_id: str | None = None
    """The bulk operation that this one is part of."""
    is_recovered: bool = False
    """Whether the VM of a create was found by its tag: the response of the cloud was lost."""
    is_delegated: bool = False
    """Whether the first step must be sent with the caller's token."""
    key: IdempotencyKey | None = None
    freed_key: IdempotencyKey | None = None
    """The former key of a create that no search has found in the cloud."""
    patch: VMPatch | None = field(default=None, repr=False)
    traceparent: str | None = None
    """The span that has submitted the operation (W3C Trace Context); None if it is not traced."""
    revision: int = 0
    retry_requested_at: datetime | None = None
    """When an operator has last requested an attempt without delay."""

    @property
    def is_finished(self) -> bool:
        """Whether the status is final."""
        return self.status not in (OperationStatus.PENDING, OperationStatus.RUNNING)

    @property
    def is_awaiting_outcome(self) -> bool:
        """Whether the cloud has accepted the current step."""
        return self.step is not None and self.step.state is StepState.ACCEPTED

    @property
    def is_accepted(self) -> bool:
        """Whether the cloud is known to have accepted the first step."""
        return self.steps[0].state in (StepState.ACCEPTED, StepState.DONE)

    @property
    def requires_caller_token(self) -> bool:
        """Whether the current step needs the token of the caller."""
        return self.is_delegated and not self.is_accepted

    @property
    def step(self) -> Step | None:
        """The current step; None when all are done."""
        return next((step for step in self.steps if step.state is not StepState.DONE), None)

    @property
    def reference(self) -> dict[str, Any]:
        """The members of a problem that refer to the operation and its VM."""
        vm = {} if self.vm_id is None else {"vm_id": self.vm_id}
        return {"operation_id": self.id, **vm}

    @property
    def began_at(self) -> datetime:
        """The start of the time limit of the operation.

        The step is older than the operation only if `created_at` is from a wrong clock.
        """
        step = self.step
        return self.created_at if step is None else min(self.created_at, self.step_started_at(step))

    def step_started_at(self, step: Step) -> datetime:
        """Return when a step was saved as dispatching."""
        return step.started_at or self.created_at

    def require_vm_id(self) -> str:
        """Return the id of the VM. Raises InternalError for a create without one."""
        if self.vm_id is None:
            raise InternalError(f"Operation {self.id} has no VM yet.")
        return self.vm_id

    def has_created(self, vm: VM, window: CreateWindow) -> bool:
        """Return whether a VM with the tag of this create is as ordered and was made in time.

        Any user of the cloud can copy a tag. The caller has compared the projects.
        """
        step = self.steps[0]
        if self.order is None or step.verb is not Verb.CREATE or step.started_at is None:
            return False
        is_as_ordered = (
            self.order.matches(vm)
            and vm.name == self.reserved_name
            and (vm.vcpus, vm.ram_mb) == (self.vcpus, self.ram_mb)
        )
        return is_as_ordered and window.contains(step.started_at, vm.created_at)

    def as_dispatching(self, now: datetime) -> "Operation":
        """Return the operation with its current step in state `dispatching`."""
        if self.step is None:
            return self
        step = replace(self.step, state=StepState.DISPATCHING, started_at=now)
        started = self.started_at or now
        running = replace(self, status=OperationStatus.RUNNING, started_at=started)
        return running.with_step(step)

    def as_recovered(self, step: Step) -> "Operation":
        """Return the operation after recovery has found the action of a step."""
        return replace(self, is_recovered=self.is_recovered or step.verb is Verb.CREATE)

    def with_step(self, step: Step) -> "Operation":
        """Return the operation with its current step replaced."""
        states = [previous.state is StepState.DONE for previous in self.steps]
        current = states.index(False)
        return replace(self, steps=(*self.steps[:current], step, *self.steps[current + 1 :]))


@dataclass(frozen=True, slots=True)
class OperationReport:
    """An operation with the facts that only operators see."""

    operation: Operation
    age_seconds: float
    """Seconds since the request, on the database's clock."""
    failed_attempts: int
    """How often the engine could not dispatch or check a step."""
    last_failure: OperationError | None
    """The reason of the last failed attempt."""
    last_failed_at: datetime | None
    is_leased: bool
    """Whether a running process continues the operation."""


@dataclass(frozen=True, slots=True)
class NewOperation:
    """An operation with the data that only the process of the request has.

    None of this data is stored. So no other process dispatches the operation if this one dies
    before the first dispatch.
    """

    operation: Operation
    vm: VM
    """The VM before the change. For a create: the VM to show until the first observation."""
    spec: CreateSpec | None = field(default=None, repr=False)
    """The parameters of a create, with the client's user data."""
    created_vm_id: str | None = None
    """The VM that an earlier create of the same idempotency key has made: none is created."""
    caller_token: CallerToken | None = field(default=None, repr=False)
    """The token that the first step of a delegated operation needs."""
    vm_revision: int | None = None
    """The revision of the inventory row that `If-Match` requires."""


@dataclass(frozen=True, slots=True)
class OperationQuery:
    """Filters of operations; None admits any value."""

    vm_id: str | None = None
    action: Action | None = None
    status: OperationStatus | None = None
    request_id: str | None = None
    key: IdempotencyKey | None = None
