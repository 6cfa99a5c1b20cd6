"""Advancing an operation: look at the VM and at the present step, do what is next.

May be called at any time, by anyone, twice: what an operation has kept before a call is enough to
find out afterwards what became of it. A change whose outcome is not known is never sent again.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from vmapi import errors
from vmapi.backends.base import Backend, Outcome, Receipt
from vmapi.models.lifecycle import Verb
from vmapi.models.operation import Failure, Operation, OperationStatus, Step, StepState
from vmapi.models.vm import VM
from vmapi.services.verdict import judge
from vmapi.store.operations import OperationStore, StaleOperation

log = structlog.get_logger("vmapi.operations")

DEADLINE = timedelta(minutes=10)
"""After this an operation is over: what the cloud still does is then the cloud's own."""

SETTLE = timedelta(seconds=120)
"""How long after a lost answer the change may still turn up in the cloud."""

AWAY = (errors.BackendUnavailable, errors.BackendTimeout, errors.BackendError)


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


class Controller:
    """Moves operations on. `clock` tells the time in UTC, `answer_timeout` is in seconds."""

    def __init__(
        self,
        backend: Backend,
        store: OperationStore,
        clock: Callable[[], datetime],
        answer_timeout: float,
    ) -> None:
        self._backend = backend
        self._store = store
        self._clock = clock
        self._lost_after = SETTLE + timedelta(seconds=answer_timeout)

    def advance(self, operation: Operation) -> Progress:
        """Carry an operation on as far as it goes without waiting.

        Raises BackendTimeout when a change was sent and its answer was lost: it goes on.
        """
        progress = Progress(operation)
        with self._store.lease(operation.id) as mine:
            while mine and not (progress.operation.finished or progress.waiting):
                try:
                    after = self._once(progress.operation)
                except StaleOperation:
                    return Progress(self._store.get(operation.id))
                progress = replace(after, vm=after.vm or progress.vm)
        return progress

    def _once(self, operation: Operation) -> Progress:
        step = operation.step
        if step is None:
            return self._end(operation, OperationStatus.SUCCEEDED)
        if self._clock() - operation.created_at > DEADLINE:
            return self._fail(operation, _overdue(operation))
        if step.state is StepState.PLANNED:
            return self._send(operation, step)
        try:
            if step.state is StepState.SENDING:
                return self._find(operation, step)
            return self._look(operation, step)
        except errors.VMNotFound:
            return self._gone(operation, step)
        except AWAY as error:
            log.warning("looking again later", operation_id=operation.id, reason=error.detail)
            return Progress(operation, waiting=True)

    def _send(self, operation: Operation, step: Step) -> Progress:
        now = self._clock()
        nothing_sent = operation.started_at is None
        step = replace(step, state=StepState.SENDING, begun_at=now)
        begun = operation.started_at or now
        operation = replace(operation, status=OperationStatus.RUNNING, started_at=begun)
        operation = self._keep(operation, step).operation
        try:
            return self._sent(operation, step, self._call(operation, step))
        except errors.BackendTimeout as error:
            error.extra["operation_id"] = operation.id
            raise
        except errors.BackendUnavailable as error:
            if nothing_sent:
                return self._fail(operation, error)
            step = replace(step, state=StepState.PLANNED)
            return replace(self._keep(operation, step), waiting=True)
        except errors.BackendError as error:
            return self._find_or_fail(operation, step, error)
        except errors.VMNotFound as error:
            if nothing_sent and step.verb is not Verb.DELETE:
                return self._fail(operation, error)
            return self._gone(operation, step)
        except errors.VmapiError as error:
            return self._fail(operation, error)

    def _call(self, operation: Operation, step: Step) -> Receipt | None:
        if operation.spec is not None and step.verb is Verb.CREATE:
            return self._backend.create(operation.spec, operation.id)
        vm_id = _vm_id(operation)
        if operation.changes is None:
            return self._backend.perform(vm_id, step.verb)
        self._backend.update(vm_id, operation.changes)
        return None

    def _sent(self, operation: Operation, step: Step, receipt: Receipt | None) -> Progress:
        if receipt is None:
            return self._keep(operation, replace(step, state=StepState.DONE))
        operation = replace(operation, vm_id=receipt.vm_id)
        step = replace(step, state=StepState.SENT, request_id=receipt.request_id)
        return self._keep(operation, step)

    def _find(self, operation: Operation, step: Step) -> Progress:
        if step.verb in (Verb.UPDATE, Verb.DELETE):
            # twice does no more than once
            return self._keep(operation, replace(step, state=StepState.PLANNED))
        receipt = self._trace(operation, step)
        if receipt is not None:
            return self._sent(operation, step, receipt)
        if self._clock() - (step.begun_at or operation.created_at) > self._lost_after:
            return self._fail(operation, _lost(step))
        return Progress(operation, waiting=True)

    def _find_or_fail(
        self, operation: Operation, step: Step, error: errors.BackendError
    ) -> Progress:
        try:
            receipt = self._trace(operation, step)
        except errors.VMNotFound:
            return self._gone(operation, step)
        except AWAY as away:
            raise errors.BackendTimeout(
                f"{error.detail} Whether it did what it was asked cannot be found out now.",
                operation_id=operation.id,
            ) from away
        if receipt is None:
            return self._fail(operation, error)
        return self._sent(operation, step, receipt)

    def _trace(self, operation: Operation, step: Step) -> Receipt | None:
        if step.verb is Verb.CREATE:
            return self._backend.find_created(operation.id)
        if step.verb is Verb.UPDATE:
            return None
        since = step.begun_at or operation.created_at
        return self._backend.find_performed(_vm_id(operation), step.verb, since)

    def _look(self, operation: Operation, step: Step) -> Progress:
        receipt = Receipt(_vm_id(operation), step.request_id or "")
        vm = self._backend.get(receipt.vm_id)
        outcome, error = judge(step.verb, vm, lambda: self._backend.outcome(receipt))
        if error is not None:
            return replace(self._fail(operation, error), vm=vm)
        if outcome is Outcome.PENDING:
            return Progress(operation, vm, waiting=True)
        return replace(self._keep(operation, replace(step, state=StepState.DONE)), vm=vm)

    def _gone(self, operation: Operation, step: Step) -> Progress:
        if step.verb is Verb.DELETE:
            return self._keep(operation, replace(step, state=StepState.DONE))
        lost = errors.BackendLost("The VM vanished from the cloud on the way.")
        return self._fail(operation, lost)

    def _keep(self, operation: Operation, step: Step) -> Progress:
        return Progress(self._store.save(operation.with_step(step)))

    def _fail(self, operation: Operation, error: errors.VmapiError) -> Progress:
        failure = Failure(error.code, error.detail, dict(error.extra))
        ended = self._end(replace(operation, error=failure), OperationStatus.FAILED)
        return replace(ended, error=error)

    def _end(self, operation: Operation, status: OperationStatus) -> Progress:
        now = self._clock()
        ended = self._store.save(replace(operation, status=status, finished_at=now))
        log.info(
            f"vm {ended.action} {status}",
            vm_id=ended.vm_id,
            operation_id=ended.id,
            duration_ms=round((now - ended.created_at).total_seconds() * 1000),
            **({"code": ended.error.code, "reason": ended.error.detail} if ended.error else {}),
        )
        return Progress(ended)


def _vm_id(operation: Operation) -> str:
    if operation.vm_id is None:
        raise errors.InternalError(f"Operation {operation.id} has no VM yet.")
    return operation.vm_id


def _overdue(operation: Operation) -> errors.OperationTimeout:
    minutes = DEADLINE // timedelta(minutes=1)
    return errors.OperationTimeout(
        f"The {operation.action} did not end within {minutes} minutes. The VM was left as it is."
    )


def _lost(step: Step) -> errors.BackendTimeout:
    return errors.BackendTimeout(f"The {step.verb} never reached the cloud; nothing was changed.")
