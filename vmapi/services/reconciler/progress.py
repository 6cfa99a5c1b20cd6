"""How far an operation has come, and keeping it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from vmapi import errors
from vmapi.domain.operation import Operation, OperationError, OperationStatus, Step, StepState
from vmapi.domain.vm import VM
from vmapi.store.store import Store

log = structlog.get_logger("vmapi.operations")


@dataclass(frozen=True, slots=True)
class ReconcileResult:
    """How far an operation has come just now.

    `vm` is the VM as it was seen last on the way, `error` what ended it, `waiting` whether there
    is nothing to do until the cloud has moved.
    """

    operation: Operation
    vm: VM | None = None
    error: errors.VmapiError | None = None
    waiting_on_cloud: bool = False


class OperationRecorder:
    """Keeps how far operations have come. Any method may raise StaleOperation."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    def save_step(self, operation: Operation, step: Step) -> ReconcileResult:
        """Keep the state of the present step; with the last one done, the operation is over."""
        operation = operation.with_step(step)
        if operation.step is None:
            return self.succeed(operation)
        return ReconcileResult(self._store.operations.save(operation))

    def fail(self, operation: Operation, error: errors.VmapiError) -> ReconcileResult:
        """End an operation that went wrong."""
        failure = OperationError(error.code, error.detail, dict(error.extra))
        step = operation.step
        sending = step is not None and step.state is StepState.DISPATCHING
        unknown = isinstance(error, errors.OperationTimeout) and sending
        # what was made and is gone was made
        made = isinstance(error, errors.BackendLost)
        if not (operation.is_accepted or unknown or made):
            # what changed nothing may be asked for again under the same key
            operation = replace(operation, key=None)
        operation = replace(operation, error=failure)
        ended = self._finish(operation, OperationStatus.FAILED)
        return replace(ended, error=error)

    def mark_dispatching(self, operation: Operation) -> Operation:
        """Keep that the present step is about to be sent."""
        return self._store.operations.save(operation.as_dispatching(self._clock()))

    def succeed(self, operation: Operation) -> ReconcileResult:
        """End an operation whose steps are all done."""
        return self._finish(operation, OperationStatus.SUCCEEDED)

    def _finish(self, operation: Operation, status: OperationStatus) -> ReconcileResult:
        now = self._clock()
        ended = self._store.operations.save(replace(operation, status=status, finished_at=now))
        log.info(
            f"vm {ended.action} {status}",
            vm_id=ended.vm_id,
            operation_id=ended.id,
            duration_ms=round((now - ended.created_at).total_seconds() * 1000),
            **({"code": ended.error.code, "reason": ended.error.detail} if ended.error else {}),
        )
        return ReconcileResult(ended)
