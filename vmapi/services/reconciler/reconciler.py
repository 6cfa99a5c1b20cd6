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
from vmapi.backends.base import AcceptedAction, ActionOutcome, Backend
from vmapi.domain.identity import CallerToken
from vmapi.domain.lifecycle import Action, Status, Verb
from vmapi.domain.operation import Operation, Step, StepState
from vmapi.domain.vm import VM
from vmapi.services.inventory.observer import CloudObserver
from vmapi.services.reconciler.dispatcher import StepDispatcher, is_gone
from vmapi.services.reconciler.outcome import evaluate_outcome
from vmapi.services.reconciler.progress import OperationRecorder, ReconcileResult
from vmapi.services.reconciler.recovery import LostCallRecovery, require_vm_id, step_started_at
from vmapi.store.conflicts import OperationRevisionConflict
from vmapi.store.store import Store

log = structlog.get_logger("vmapi.operations")

CREATE_RECOVERY_WINDOW = timedelta(seconds=120)
"""How long after a lost answer a create may still turn up in the cloud."""

ACTION_RECOVERY_WINDOW = timedelta(seconds=10)
"""The same for an action: sent twice by mistake, the cloud would refuse it."""


class Reconciler:
    """Moves operations on. `clock` tells the time in UTC, `answer_timeout` is in seconds.

    After its action's deadline an operation is over: what the cloud still does is the cloud's own.
    """

    def __init__(
        self,
        backend: Backend,
        observer: CloudObserver,
        store: Store,
        *,
        clock: Callable[[], datetime],
        response_timeout: float,
        deadlines: Mapping[Action, timedelta],
    ) -> None:
        self._backend = backend
        self._observer = observer
        self._store = store
        self._clock = clock
        self._deadlines = deadlines
        self._recovery = LostCallRecovery(backend, store, clock)
        self._recorder = OperationRecorder(store, clock)
        self._dispatcher = StepDispatcher(backend, observer, self._recorder, self._recovery)
        self._response_timeout = timedelta(seconds=response_timeout)

    def reconcile(
        self,
        operation: Operation,
        snapshot: VM | None = None,
        *,
        lease_held: bool = False,
        caller_token: CallerToken | None = None,
    ) -> ReconcileResult:
        """Carry an operation on as far as it goes without waiting; `fresh` is one just added.

        A fresh one may say already that its first step is being sent: then it is sent now.
        `seen` is its VM as it was seen just now, which saves a look. With `on_behalf` the first
        step is sent, where that is for who has asked for it.

        Raises BackendTimeout when a change was sent and its answer was lost: it goes on.
        """
        progress = ReconcileResult(operation)
        with self._store.operations.lease(operation.id, lease_held=lease_held) as mine:
            while mine and not (progress.operation.is_finished or progress.waiting_on_cloud):
                try:
                    after = self._reconcile_once(
                        progress.operation, snapshot, caller_token, lease_held=lease_held
                    )
                except OperationRevisionConflict:
                    return ReconcileResult(self._store.operations.get(operation.id))
                progress, snapshot = replace(after, vm=after.vm or progress.vm), None
                lease_held = False
        return progress

    def _reconcile_once(
        self,
        operation: Operation,
        snapshot: VM | None,
        caller_token: CallerToken | None,
        *,
        lease_held: bool,
    ) -> ReconcileResult:
        step = operation.step
        if step is None:
            return self._recorder.succeed(operation)
        deadline = self._deadlines[operation.action]
        overdue = self._clock() - operation.created_at > deadline
        first = operation.started_at is None
        if lease_held and step.state is StepState.DISPATCHING:
            progress = self._dispatch(
                operation, step, is_first_attempt=True, caller_token=caller_token
            )
        elif step.state is not StepState.PLANNED:
            progress = self._check_progress(operation, step, snapshot)
        elif first and not lease_held and operation.reserved_name is not None:
            # whether the name is free only its first process was about to see
            progress = self._recorder.fail(operation, self._dispatcher.not_sendable_error())
        elif not overdue:
            sending = self._recorder.mark_dispatching(operation)
            step = sending.step or step
            progress = self._dispatch(
                sending, step, is_first_attempt=first, caller_token=caller_token
            )
        else:
            progress = ReconcileResult(operation, waiting_on_cloud=True)
        if progress.waiting_on_cloud and overdue and not self._may_still_arrive(operation, step):
            return replace(
                self._recorder.fail(operation, _timeout_error(operation, deadline)), vm=progress.vm
            )
        return progress

    def _dispatch(
        self,
        operation: Operation,
        step: Step,
        *,
        is_first_attempt: bool,
        caller_token: CallerToken | None,
    ) -> ReconcileResult:
        if self._clock() - step_started_at(operation, step) > ACTION_RECOVERY_WINDOW:
            # by the time of an answer others would have looked for it, and have sent it again
            return self._recorder.save_step(operation, replace(step, state=StepState.PLANNED))
        return self._dispatcher.dispatch(
            operation, step, is_first_attempt=is_first_attempt, caller_token=caller_token
        )

    def _may_still_arrive(self, operation: Operation, step: Step) -> bool:
        if step.state is not StepState.DISPATCHING:
            return False
        settle = CREATE_RECOVERY_WINDOW if step.verb is Verb.CREATE else ACTION_RECOVERY_WINDOW
        return self._clock() - step_started_at(operation, step) <= self._response_timeout + settle

    def _check_progress(
        self, operation: Operation, step: Step, snapshot: VM | None
    ) -> ReconcileResult:
        try:
            if step.state is StepState.DISPATCHING:
                return self._recover(operation, step)
            return self._check_outcome(operation, step, snapshot)
        except (OperationRevisionConflict, errors.StoreUnavailable):
            raise
        except errors.VmapiError as error:
            if is_gone(error):
                return self._dispatcher.record_vm_gone(operation, step)
            log.warning("looking again later", operation_id=operation.id, reason=error.detail)
        except Exception:
            # a defect of ours does not outlive the deadline
            log.exception("looking again later", operation_id=operation.id)
        return ReconcileResult(operation, waiting_on_cloud=True)

    def _recover(self, operation: Operation, step: Step) -> ReconcileResult:
        if step.verb in (Verb.UPDATE, Verb.DELETE) and not operation.requires_caller_token:
            # twice does no more than once
            return self._recorder.save_step(operation, replace(step, state=StepState.PLANNED))
        receipt = self._recovery.find_request(operation, step)
        if receipt is not None or self._recovery.is_update_applied(operation):
            return self._dispatcher.record_accepted(operation, step, receipt)
        if self._may_still_arrive(operation, step):
            return ReconcileResult(operation, waiting_on_cloud=True)
        if step.verb is Verb.CREATE or operation.requires_caller_token:
            return self._recorder.fail(operation, self._recovery.not_found_error(operation, step))
        # the cloud has no record of it, and nothing is on its way any more
        log.info("sending again", operation_id=operation.id, vm_id=operation.vm_id, verb=step.verb)
        return self._recorder.save_step(operation, replace(step, state=StepState.PLANNED))

    def _check_outcome(
        self, operation: Operation, step: Step, snapshot: VM | None
    ) -> ReconcileResult:
        receipt = AcceptedAction(require_vm_id(operation), step.request_id or "")
        vm = snapshot or self._observer.fetch(receipt.vm_id)
        if vm.status is Status.DELETED:
            return self._dispatcher.record_vm_gone(operation, step)
        outcome, error = evaluate_outcome(step.verb, vm, lambda: self._backend.get_outcome(receipt))
        if error is not None:
            # a VM that was read before the cloud was done with it proves nothing
            vm = self._observer.fetch(receipt.vm_id)
            outcome, error = evaluate_outcome(
                step.verb, vm, lambda: self._backend.get_outcome(receipt)
            )
        if error is not None:
            return replace(self._recorder.fail(operation, error), vm=vm)
        if outcome is ActionOutcome.PENDING:
            return ReconcileResult(operation, vm, waiting_on_cloud=True)
        return replace(
            self._recorder.save_step(operation, replace(step, state=StepState.DONE)), vm=vm
        )


def _timeout_error(operation: Operation, deadline: timedelta) -> errors.OperationTimeout:
    seconds = int(deadline.total_seconds())
    return errors.OperationTimeout(
        f"The {operation.action} did not end within {seconds} seconds. The VM was left as it is."
    )
