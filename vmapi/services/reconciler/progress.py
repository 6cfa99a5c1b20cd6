"""The progress of an operation: the result of reconciling it, and its terminal states."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog

from vmapi import errors
from vmapi.domain.lifecycle import Action
from vmapi.domain.observation import Observation
from vmapi.domain.operation import Operation, OperationError, OperationStatus, StepState
from vmapi.domain.snapshot import VMSnapshot
from vmapi.domain.storable_text import storable_json, storable_text
from vmapi.domain.vm import VM
from vmapi.services.inventory.observer import CloudObserver
from vmapi.services.reconciler.outcome import is_failed_build

log = structlog.get_logger("vmapi.operations")


@dataclass(frozen=True, slots=True)
class ReconcileResult:
    """The state of an operation after one or more steps of the reconcile loop."""

    operation: Operation
    error: errors.VmapiError | None = None
    """The error that ended the operation."""
    waiting_on_cloud: bool = False
    """Whether nothing is to be done until the cloud makes progress."""
    is_saved: bool = True
    """Whether the database has this state of the operation."""
    observation: Observation | None = None
    """The VM as the cloud has shown it, to be saved with the operation."""
    expected_vm: VM | None = None
    """The VM of an accepted create, to be saved with the operation."""
    stored_vm: VMSnapshot | None = None
    """The VM as the last save has left it in the inventory."""
    failure: errors.VmapiError | None = None
    """The reason why the last attempt to dispatch or check the step failed."""

    def changed(self, operation: Operation, **changes: Any) -> "ReconcileResult":
        """Return the result with another, unsaved state of the operation."""
        return replace(self, operation=operation, is_saved=False, **changes)

    def raise_error(self) -> None:
        """Raise the error that ended the operation, unless its VM shows the error itself."""
        if self.error is None or is_failed_build(self.operation):
            return
        if self.operation.is_accepted:
            self.error.extra = {**self.operation.reference, **self.error.extra}
        raise self.error


def as_failed(operation: Operation, error: errors.VmapiError, now: datetime) -> Operation:
    """Return the operation as failed.

    Its idempotency key is free again if nothing was changed, unless the cloud itself has failed.
    """
    step = operation.step
    is_dispatching = step is not None and step.state is StepState.DISPATCHING
    is_unknown = is_dispatching and isinstance(
        error, errors.OperationTimeout | errors.InternalError
    )
    # the cloud has accepted the create of a VM that has disappeared since
    was_created = isinstance(error, errors.BackendLost)
    # a repeat would meet the same failure of the cloud: it gets the recorded outcome instead
    is_final = isinstance(error, errors.BackendError)
    keeps_key = operation.is_accepted or is_unknown or was_created or is_final
    # the VM of a create may appear after the search
    may_appear = is_dispatching and operation.action is Action.CREATE and not keeps_key
    return replace(
        operation,
        key=operation.key if keeps_key else None,
        freed_key=operation.key if may_appear else None,
        error=OperationError(error.code, storable_text(error.detail), storable_json(error.extra)),
        status=OperationStatus.FAILED,
        finished_at=now,
    )


def as_succeeded(operation: Operation, now: datetime) -> Operation:
    """Return the operation as succeeded."""
    return replace(operation, status=OperationStatus.SUCCEEDED, finished_at=now)


def defect_error(error: Exception) -> errors.InternalError:
    """Return the error of an attempt that a defect of vmapi has ended."""
    return errors.InternalError(f"{type(error).__name__}: a defect of vmapi, see its log.")


def save_result(observer: CloudObserver, result: ReconcileResult) -> ReconcileResult:
    """Save an operation, its VM as observed, and all that follows from its end.

    Raises OperationRevisionConflict, StoreUnavailable.
    """
    if result.is_saved:
        return result
    operation = result.operation
    try:
        saved = observer.save_operation(operation, result.observation, result.expected_vm)
    except errors.StoreUnavailable as error:
        if not operation.is_accepted:
            raise
        sent = f"The {operation.action} was sent to the cloud and continues."
        raise errors.StoreUnavailable(
            f"{error.detail} {sent}", operation_id=operation.id
        ) from error
    if operation.is_finished:
        _log_finished(operation)
    return ReconcileResult(
        saved.operation,
        result.error,
        result.waiting_on_cloud,
        stored_vm=saved.vm,
        failure=result.failure,
    )


def _log_finished(operation: Operation) -> None:
    """Log the outcome and the duration of a finished operation."""
    duration = (operation.finished_at or operation.created_at) - operation.created_at
    error = operation.error
    reason = {"code": error.code, "reason": error.detail} if error else {}
    log.info(
        f"vm {operation.action} {operation.status}",
        vm_id=operation.vm_id,
        operation_id=operation.id,
        duration_ms=round(duration.total_seconds() * 1000),
        **reason,
    )
