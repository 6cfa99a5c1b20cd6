"""How far an operation has come, and keeping it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from vmapi import errors
from vmapi.domain.operation import Failure, Operation, OperationStatus, Step, StepState
from vmapi.domain.vm import VM
from vmapi.store.store import Store

log = structlog.get_logger("vmapi.operations")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an operation has come just now.

    `vm` is the VM as it was seen last on the way, `error` what ended it, `waiting` whether there
    is nothing to do until the cloud has moved.
    """

    operation: Operation
    vm: VM | None = None
    error: errors.VmapiError | None = None
    waiting: bool = False


class Record:
    """Keeps how far operations have come. Any method may raise StaleOperation."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    def keep(self, operation: Operation, step: Step) -> Progress:
        """Keep the state of the present step; with the last one done, the operation is over."""
        operation = operation.with_step(step)
        if operation.step is None:
            return self.succeed(operation)
        return Progress(self._store.operations.save(operation))

    def fail(self, operation: Operation, error: errors.VmapiError) -> Progress:
        """End an operation that went wrong."""
        failure = Failure(error.code, error.detail, dict(error.extra))
        step = operation.step
        sending = step is not None and step.state is StepState.SENDING
        unknown = isinstance(error, errors.OperationTimeout) and sending
        # what was made and is gone was made
        made = isinstance(error, errors.BackendLost)
        if not (operation.taken_on or unknown or made):
            # what changed nothing may be asked for again under the same key
            operation = replace(operation, key=None)
        operation = replace(operation, error=failure)
        ended = self._end(operation, OperationStatus.FAILED)
        return replace(ended, error=error)

    def send(self, operation: Operation) -> Operation:
        """Keep that the present step is about to be sent."""
        return self._store.operations.save(operation.sending(self._clock()))

    def succeed(self, operation: Operation) -> Progress:
        """End an operation whose steps are all done."""
        return self._end(operation, OperationStatus.SUCCEEDED)

    def _end(self, operation: Operation, status: OperationStatus) -> Progress:
        now = self._clock()
        ended = self._store.operations.save(replace(operation, status=status, finished_at=now))
        log.info(
            f"vm {ended.action} {status}",
            vm_id=ended.vm_id,
            operation_id=ended.id,
            duration_ms=round((now - ended.created_at).total_seconds() * 1000),
            **({"code": ended.error.code, "reason": ended.error.detail} if ended.error else {}),
        )
        return Progress(ended)
