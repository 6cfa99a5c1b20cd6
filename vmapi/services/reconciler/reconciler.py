"""Advancing an operation: look at the VM and at the present step, do what is next.

May be called at any time, by anyone, twice: what an operation has kept before a call is enough to
find out afterwards what became of it. A change whose outcome is not known is never sent again
without looking for it first; a create never, nor what only who has asked for it may send.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from vmapi import errors
from vmapi.backends.base import Backend, Outcome, Receipt
from vmapi.domain.credential import Credential
from vmapi.domain.lifecycle import Action, Status, Verb
from vmapi.domain.operation import Operation, Step, StepState
from vmapi.domain.vm import VM
from vmapi.services.inventory.observer import Looks
from vmapi.services.reconciler.dispatcher import Delivery, is_gone
from vmapi.services.reconciler.outcome import judge
from vmapi.services.reconciler.progress import Progress, Record
from vmapi.services.reconciler.recovery import Traces, begun, vm_of
from vmapi.store.conflicts import StaleOperation
from vmapi.store.store import Store

log = structlog.get_logger("vmapi.operations")

SETTLE = timedelta(seconds=120)
"""How long after a lost answer a create may still turn up in the cloud."""

ACTION_SETTLE = timedelta(seconds=10)
"""The same for an action: sent twice by mistake, the cloud would refuse it."""


class Controller:
    """Moves operations on. `clock` tells the time in UTC, `answer_timeout` is in seconds.

    After its action's deadline an operation is over: what the cloud still does is the cloud's own.
    """

    def __init__(
        self,
        backend: Backend,
        looks: Looks,
        store: Store,
        *,
        clock: Callable[[], datetime],
        answer_timeout: float,
        deadlines: Mapping[Action, timedelta],
    ) -> None:
        self._backend = backend
        self._looks = looks
        self._store = store
        self._clock = clock
        self._deadlines = deadlines
        self._traces = Traces(backend, store, clock)
        self._record = Record(store, clock)
        self._delivery = Delivery(backend, looks, self._record, self._traces)
        self._answer_timeout = timedelta(seconds=answer_timeout)

    def advance(
        self,
        operation: Operation,
        seen: VM | None = None,
        *,
        fresh: bool = False,
        on_behalf: Credential | None = None,
    ) -> Progress:
        """Carry an operation on as far as it goes without waiting; `fresh` is one just added.

        A fresh one may say already that its first step is being sent: then it is sent now.
        `seen` is its VM as it was seen just now, which saves a look. With `on_behalf` the first
        step is sent, where that is for who has asked for it.

        Raises BackendTimeout when a change was sent and its answer was lost: it goes on.
        """
        progress = Progress(operation)
        with self._store.operations.lease(operation.id, fresh=fresh) as mine:
            while mine and not (progress.operation.finished or progress.waiting):
                try:
                    after = self._once(progress.operation, seen, on_behalf, fresh=fresh)
                except StaleOperation:
                    return Progress(self._store.operations.get(operation.id))
                progress, seen = replace(after, vm=after.vm or progress.vm), None
                fresh = False
        return progress

    def _once(
        self, operation: Operation, seen: VM | None, on_behalf: Credential | None, *, fresh: bool
    ) -> Progress:
        step = operation.step
        if step is None:
            return self._record.succeed(operation)
        deadline = self._deadlines[operation.action]
        overdue = self._clock() - operation.created_at > deadline
        first = operation.started_at is None
        if fresh and step.state is StepState.SENDING:
            progress = self._deliver(operation, step, first=True, on_behalf=on_behalf)
        elif step.state is not StepState.PLANNED:
            progress = self._learn(operation, step, seen)
        elif first and not fresh and operation.claimed_name is not None:
            # whether the name is free only its first process was about to see
            progress = self._record.fail(operation, self._delivery.orphaned())
        elif not overdue:
            sending = self._record.send(operation)
            step = sending.step or step
            progress = self._deliver(sending, step, first=first, on_behalf=on_behalf)
        else:
            progress = Progress(operation, waiting=True)
        if progress.waiting and overdue and not self._may_turn_up(operation, step):
            return replace(
                self._record.fail(operation, _overdue(operation, deadline)), vm=progress.vm
            )
        return progress

    def _deliver(
        self, operation: Operation, step: Step, *, first: bool, on_behalf: Credential | None
    ) -> Progress:
        if self._clock() - begun(operation, step) > ACTION_SETTLE:
            # by the time of an answer others would have looked for it, and have sent it again
            return self._record.keep(operation, replace(step, state=StepState.PLANNED))
        return self._delivery.deliver(operation, step, first=first, on_behalf=on_behalf)

    def _may_turn_up(self, operation: Operation, step: Step) -> bool:
        if step.state is not StepState.SENDING:
            return False
        settle = SETTLE if step.verb is Verb.CREATE else ACTION_SETTLE
        return self._clock() - begun(operation, step) <= self._answer_timeout + settle

    def _learn(self, operation: Operation, step: Step, seen: VM | None) -> Progress:
        try:
            if step.state is StepState.SENDING:
                return self._find(operation, step)
            return self._look(operation, step, seen)
        except (StaleOperation, errors.StoreUnavailable):
            raise
        except errors.VmapiError as error:
            if is_gone(error):
                return self._delivery.gone(operation, step)
            log.warning("looking again later", operation_id=operation.id, reason=error.detail)
        except Exception:
            # a defect of ours does not outlive the deadline
            log.exception("looking again later", operation_id=operation.id)
        return Progress(operation, waiting=True)

    def _find(self, operation: Operation, step: Step) -> Progress:
        if step.verb in (Verb.UPDATE, Verb.DELETE) and not operation.is_personal:
            # twice does no more than once
            return self._record.keep(operation, replace(step, state=StepState.PLANNED))
        receipt = self._traces.find(operation, step)
        if receipt is not None or self._traces.shows(operation):
            return self._delivery.sent(operation, step, receipt)
        if self._may_turn_up(operation, step):
            return Progress(operation, waiting=True)
        if step.verb is Verb.CREATE or operation.is_personal:
            return self._record.fail(operation, self._traces.missing(operation, step))
        # the cloud has no record of it, and nothing is on its way any more
        log.info("sending again", operation_id=operation.id, vm_id=operation.vm_id, verb=step.verb)
        return self._record.keep(operation, replace(step, state=StepState.PLANNED))

    def _look(self, operation: Operation, step: Step, seen: VM | None) -> Progress:
        receipt = Receipt(vm_of(operation), step.request_id or "")
        vm = seen or self._looks.at(receipt.vm_id)
        if vm.status is Status.DELETED:
            return self._delivery.gone(operation, step)
        outcome, error = judge(step.verb, vm, lambda: self._backend.outcome(receipt))
        if error is not None:
            # a VM that was read before the cloud was done with it proves nothing
            vm = self._looks.at(receipt.vm_id)
            outcome, error = judge(step.verb, vm, lambda: self._backend.outcome(receipt))
        if error is not None:
            return replace(self._record.fail(operation, error), vm=vm)
        if outcome is Outcome.PENDING:
            return Progress(operation, vm, waiting=True)
        return replace(self._record.keep(operation, replace(step, state=StepState.DONE)), vm=vm)


def _overdue(operation: Operation, deadline: timedelta) -> errors.OperationTimeout:
    seconds = int(deadline.total_seconds())
    return errors.OperationTimeout(
        f"The {operation.action} did not end within {seconds} seconds. The VM was left as it is."
    )
