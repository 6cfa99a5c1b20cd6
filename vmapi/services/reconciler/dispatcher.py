"""Send a step of an operation to the cloud, and find the outcome of a call without a response.

`Reconciler` calls the dispatcher and saves the results. Nothing here writes an operation. The
package states the protocol.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from functools import partial

from vmapi import errors
from vmapi.backends.base import AcceptedAction, Backend
from vmapi.domain.lifecycle import Status, Verb
from vmapi.domain.observation import Observation
from vmapi.domain.operation import NewOperation, Operation, Step
from vmapi.services.inventory.observer import CloudObserver
from vmapi.services.reconciler.recovery import (
    ACTION_RECOVERY_WINDOW,
    WRONG_CLOCK_SEARCH_PERIOD,
    is_from_wrong_clock,
)
from vmapi.store.store import Store
from vmapi.telemetry.tracing.tracer import TRACER

CLOUD_TIME_RESOLUTION = timedelta(seconds=1)
"""Nova truncates its timestamps to whole seconds."""


class DispatchState(Enum):
    """The state of a step after its dispatch."""

    ACCEPTED = auto()
    NOT_SENT = auto()
    EXPIRED = auto()
    REFUSED = auto()
    VM_GONE = auto()


@dataclass(frozen=True, slots=True)
class DispatchResult:
    """The cloud's response to a step, or the reason why the step was not sent."""

    state: DispatchState
    action: AcceptedAction | None = None
    """The action to wait for. None with ACCEPTED: the step is done."""
    error: errors.VmapiError | None = None
    """The reason for NOT_SENT and REFUSED."""
    is_recovered: bool = False
    """Whether the action was found in the cloud instead of in a response."""
    observation: Observation | None = None
    """The VM after an update."""


class StepDispatcher:
    """Sends steps with vmapi's account or the caller's token, and recovers lost calls."""

    def __init__(
        self,
        backend: Backend,
        observer: CloudObserver,
        store: Store,
        clock: Callable[[], datetime],
    ) -> None:
        self._backend = backend
        self._observer = observer
        self._store = store
        self._clock = clock

    def dispatch(
        self, operation: Operation, step: Step, new: NewOperation | None, *, is_first_attempt: bool
    ) -> DispatchResult:
        """Send a step that is saved as dispatching.

        `new`: the operation as this process has inserted it; None in any other process.
        `is_first_attempt`: the operation has no earlier dispatch. Raises BackendTimeout if the
        outcome is unknown.
        """
        if self._clock() - operation.step_started_at(step) > ACTION_RECOVERY_WINDOW:
            return DispatchResult(DispatchState.EXPIRED)
        if step.verb is Verb.CREATE and new is not None and new.created_vm_id is not None:
            created = AcceptedAction(new.created_vm_id, "")
            return DispatchResult(DispatchState.ACCEPTED, created, is_recovered=True)
        try:
            with TRACER.span(f"dispatch {step.verb}", {"vmapi.operation.id": operation.id}):
                call = self._prepare_call(operation, step, new)
                action = call()
        except errors.BackendTimeout as error:
            error.extra["operation_id"] = operation.id
            raise
        except errors.VmapiError as error:
            return self._handle_error(operation, step, error, is_first_attempt=is_first_attempt)
        observation = None
        if action is None:
            # Nova's changes-since does not report new metadata
            with suppress(errors.VmapiError):
                observation = self._observer.observe(operation.require_vm_id())
        return DispatchResult(DispatchState.ACCEPTED, action, observation=observation)

    def find_action(self, operation: Operation, step: Step) -> AcceptedAction | None:
        """Return the action that a step has started in the cloud. Raises VMNotFound."""
        if step.verb is Verb.CREATE:
            return self._backend.find_created_vm(operation.id)
        if step.verb is Verb.UPDATE:
            return None
        vm_id = operation.require_vm_id()
        # a request id in the database belongs to another operation or another step
        known_ids = self._store.operations.request_ids(vm_id)
        created_at, now = operation.created_at, self._clock()
        if is_from_wrong_clock(created_at, now):
            created_at = now - WRONG_CLOCK_SEARCH_PERIOD
        since = self._to_cloud_time(created_at)
        return self._backend.find_action(vm_id, step.verb, since, known_ids)

    def is_update_applied(self, operation: Operation) -> bool:
        """Return whether a VM has the name and metadata of an update. Raises VMNotFound."""
        if operation.patch is None:
            return False
        vm, patch = self._backend.get_vm(operation.require_vm_id()), operation.patch
        return patch.name in (None, vm.name) and patch.applied_to(vm.metadata) == vm.metadata

    def not_found_error(self, operation: Operation, step: Step) -> errors.BackendFailure:
        """Return the error for a step without a trace in the cloud after its recovery window."""
        if step.verb is Verb.CREATE and (vm_id := self._find_deleted_vm(operation, step)):
            return errors.BackendLost("The VM was made, and deleted since.", vm_id=vm_id)
        detail = f"The {step.verb} never reached the cloud; nothing was changed."
        if step.verb is Verb.UPDATE:
            detail = "The update did not reach the cloud, or in part only; send it again."
        return errors.BackendTimeout(detail)

    def not_sendable_error(self) -> errors.BackendUnavailable:
        """Return the error for a step that only the dead process of the request could send."""
        return errors.BackendUnavailable("vmapi died before this was sent; send it again.")

    def _prepare_call(
        self, operation: Operation, step: Step, new: NewOperation | None
    ) -> Callable[[], AcceptedAction | None]:
        """Bind the driver method of a step. Raises BackendUnavailable if it is not sendable."""
        token = new.caller_token if new and operation.requires_caller_token else None
        if operation.requires_caller_token and token is None:
            raise self.not_sendable_error()
        if step.verb is Verb.CREATE:
            if new is None or new.spec is None:
                raise self.not_sendable_error()
            return partial(self._backend.create_vm, new.spec, operation.id, caller_token=token)
        vm_id = operation.require_vm_id()
        if operation.patch is None:
            return partial(self._backend.perform_action, vm_id, step.verb, caller_token=token)
        return partial(self._backend.update_vm, vm_id, operation.patch, caller_token=token)

    def _handle_error(
        self, operation: Operation, step: Step, error: errors.VmapiError, *, is_first_attempt: bool
    ) -> DispatchResult:
        if isinstance(error, errors.VMNotFound) and operation.vm_id is None:
            error = errors.BackendError("The cloud answers a create as if its VM was missing.")
        if isinstance(error, errors.BackendUnavailable) or is_hidden(error):
            return DispatchResult(DispatchState.NOT_SENT, error=error)
        if is_gone(error) and (step.verb is Verb.DELETE or not is_first_attempt):
            return DispatchResult(DispatchState.VM_GONE)
        # a broken response may follow a change; a conflict may follow an earlier attempt's arrival
        is_ambiguous = isinstance(error, errors.BackendError) or (
            isinstance(error, errors.Conflict) and not is_first_attempt
        )
        if is_ambiguous:
            return self._recover_or_refuse(operation, step, error)
        return DispatchResult(DispatchState.REFUSED, error=error)

    def _recover_or_refuse(
        self, operation: Operation, step: Step, error: errors.VmapiError
    ) -> DispatchResult:
        try:
            action = self.find_action(operation, step)
        except errors.VmapiError as lookup_error:
            if is_gone(lookup_error) and operation.vm_id is not None:
                return DispatchResult(DispatchState.VM_GONE)
            raise errors.BackendTimeout(
                f"{error.detail} Whether the change took effect is unknown.",
                operation_id=operation.id,
            ) from lookup_error
        if action is None:
            return DispatchResult(DispatchState.REFUSED, error=error)
        return DispatchResult(DispatchState.ACCEPTED, action, is_recovered=True)

    def _find_deleted_vm(self, operation: Operation, step: Step) -> str | None:
        if vm_id := self._store.inventory.find_created_by(operation.id):
            return vm_id
        # a deleted server has no tag; but its name was reserved for this operation
        since = self._to_cloud_time(operation.step_started_at(step)) - CLOUD_TIME_RESOLUTION
        for vm in self._backend.list_changed_since(since):
            has_name = (vm.project, vm.name) == (operation.project, operation.reserved_name)
            if has_name and vm.created_at > since and vm.status is Status.DELETED:
                return vm.id
        return None

    def _to_cloud_time(self, at: datetime) -> datetime:
        """Convert a time of this process to the clock of the cloud."""
        return at + (self._backend.cloud_time() - self._clock())


def is_gone(error: errors.VmapiError) -> bool:
    """Return whether the error proves that the VM does not exist."""
    return isinstance(error, errors.VMNotFound) and not error.hidden


def is_hidden(error: errors.VmapiError) -> bool:
    """Return whether the cloud hides the VM, which does not prove that the VM is gone."""
    return isinstance(error, errors.VMNotFound) and error.hidden
