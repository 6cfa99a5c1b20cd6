"""Reconcile one operation: choose the next action from its step and its VM, and save the result.

The engine calls `reconcile` for operations of any process, `OperationSubmitter` calls
`dispatch_first` for an operation that it has just inserted. Both may be interrupted at any point
and repeated by any process: the package states the protocol that makes this safe.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from vmapi import errors
from vmapi.backends.base import AcceptedAction, ActionOutcome, Backend
from vmapi.domain.lifecycle import Action, Status, Verb
from vmapi.domain.operation import NewOperation, Operation, Step, StepState
from vmapi.domain.vm import VM
from vmapi.services.inventory.observer import CloudObserver
from vmapi.services.reconciler import recovery
from vmapi.services.reconciler.dispatcher import (
    DispatchResult,
    DispatchState,
    StepDispatcher,
    is_gone,
)
from vmapi.services.reconciler.outcome import evaluate_outcome, timeout_error
from vmapi.services.reconciler.progress import (
    ReconcileResult,
    as_failed,
    as_succeeded,
    log_finished,
)
from vmapi.store.conflicts import OperationRevisionConflict
from vmapi.store.store import Store

log = structlog.get_logger("vmapi.operations")


class Reconciler:
    """Moves operations towards their end. After the deadline of its action an operation fails.

    `clock` returns the time in UTC, `response_timeout` is in seconds. `notify_engine` receives the
    id of an operation that `dispatch_first` leaves unfinished.
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
        notify_engine: Callable[[str], object],
    ) -> None:
        self._backend = backend
        self._observer = observer
        self._store = store
        self._clock = clock
        self._deadlines = deadlines
        self._response_timeout = timedelta(seconds=response_timeout)
        self._notify_engine = notify_engine
        self._dispatcher = StepDispatcher(backend, observer, store, clock)

    def dispatch_first(self, new: NewOperation) -> ReconcileResult:
        """Dispatch the first step of a new operation and go on until it must wait.

        The calling thread has inserted the operation and holds its lease, which ends here. An
        unfinished operation is left to the engine. Raises BackendTimeout if the outcome of the
        step is unknown, StoreUnavailable if it cannot be saved.
        """
        result = ReconcileResult(new.operation)
        try:
            if new.operation.started_at is None:
                result = self._begin_dispatch(new.operation)
            if not result.operation.is_finished:
                operation, step = result.operation, result.operation.steps[0]
                response = self._dispatcher.dispatch(operation, step, new, is_first_attempt=True)
                result = self._save_response(operation, step, new, response, is_first_attempt=True)
                result = self._run(result, None, new)
        except OperationRevisionConflict:
            result = ReconcileResult(self._store.operations.get(new.operation.id))
        finally:
            self._store.operations.release(new.operation.id)
            if not result.operation.is_finished:
                self._notify_engine(new.operation.id)
        return result

    def reconcile(self, operation: Operation, observed_vm: VM | None = None) -> ReconcileResult:
        """Reconcile an operation until it is finished or must wait for the cloud.

        Do nothing while another thread or process holds the lease. `observed_vm` is a current
        observation of the VM, which saves a request. Raises BackendTimeout if the outcome of a
        step is unknown, StoreUnavailable if the result cannot be saved.
        """
        result = ReconcileResult(operation)
        with self._store.operations.lease(operation.id) as acquired:
            if not acquired:
                return result
            try:
                return self._run(result, observed_vm, None)
            except OperationRevisionConflict:
                return ReconcileResult(self._store.operations.get(operation.id))

    def _run(
        self, result: ReconcileResult, observed_vm: VM | None, new: NewOperation | None
    ) -> ReconcileResult:
        while not (result.operation.is_finished or result.waiting_on_cloud):
            next_result = self._reconcile_once(result.operation, observed_vm, new)
            result, observed_vm = next_result.following(result), None
        return result

    def _reconcile_once(
        self, operation: Operation, observed_vm: VM | None, new: NewOperation | None
    ) -> ReconcileResult:
        step = operation.step
        if step is None:
            return self._finish(as_succeeded(operation, self._clock()))
        if step.state is StepState.PLANNED:
            return self._dispatch_planned(operation, step, new)
        if recovery.is_from_wrong_clock(recovery.step_started_at(operation, step), self._clock()):
            # the time limits begin again: they may be too long, never too short
            return self._save_step(operation, replace(step, started_at=self._clock()))
        is_overdue = self._is_overdue(operation)
        result = self._check_progress(operation, step, observed_vm)
        if result.waiting_on_cloud and is_overdue and not self._may_still_arrive(operation, step):
            failed = self._fail(operation, timeout_error(operation, self._deadlines))
            return replace(failed, vm=result.vm)
        return result

    def _dispatch_planned(
        self, operation: Operation, step: Step, new: NewOperation | None
    ) -> ReconcileResult:
        is_first = operation.started_at is None
        # only the process of the request has the spec of a create, and has checked a new name
        is_name_unchecked = is_first and operation.reserved_name is not None
        if new is None and (step.verb is Verb.CREATE or is_name_unchecked):
            return self._fail(operation, self._dispatcher.not_sendable_error())
        result = self._begin_dispatch(operation)
        if result.operation.is_finished:
            return result
        operation, step = result.operation, result.operation.step or step
        response = self._dispatcher.dispatch(operation, step, new, is_first_attempt=is_first)
        return self._save_response(operation, step, new, response, is_first_attempt=is_first)

    def _begin_dispatch(self, operation: Operation) -> ReconcileResult:
        """Save the present step as dispatching, or fail the operation after its deadline."""
        if self._is_overdue(operation):
            return self._fail(operation, timeout_error(operation, self._deadlines))
        return ReconcileResult(self._store.operations.save(operation.as_dispatching(self._clock())))

    def _check_progress(
        self, operation: Operation, step: Step, observed_vm: VM | None
    ) -> ReconcileResult:
        try:
            if step.state is StepState.DISPATCHING:
                return self._recover(operation, step)
            return self._check_outcome(operation, step, observed_vm)
        except (OperationRevisionConflict, errors.StoreUnavailable):
            raise
        except errors.VmapiError as error:
            # a create that has no VM yet may find it later
            if is_gone(error) and operation.vm_id is not None:
                return self._save_vm_gone(operation, step)
            log.warning(
                "outcome check failed, will retry", operation_id=operation.id, reason=error.detail
            )
        except Exception:
            # a defect of vmapi ends with the deadline of the operation
            log.exception("outcome check failed, will retry", operation_id=operation.id)
        return ReconcileResult(operation, waiting_on_cloud=True)

    def _recover(self, operation: Operation, step: Step) -> ReconcileResult:
        if step.verb in (Verb.UPDATE, Verb.DELETE) and not operation.requires_caller_token:
            # a repeated update or delete changes nothing
            return self._save_step(operation, replace(step, state=StepState.PLANNED))
        action = self._dispatcher.find_action(operation, step)
        if action is not None or self._dispatcher.is_update_applied(operation):
            return self._save_accepted(operation.as_recovered(step), step, None, action)
        if self._may_still_arrive(operation, step):
            return ReconcileResult(operation, waiting_on_cloud=True)
        if step.verb is Verb.CREATE or operation.requires_caller_token:
            return self._fail(operation, self._dispatcher.not_found_error(operation, step))
        log.info(
            "re-dispatching action",
            operation_id=operation.id,
            vm_id=operation.vm_id,
            verb=step.verb,
        )
        return self._save_step(operation, replace(step, state=StepState.PLANNED))

    def _check_outcome(
        self, operation: Operation, step: Step, observed_vm: VM | None
    ) -> ReconcileResult:
        action = AcceptedAction(recovery.require_vm_id(operation), step.request_id or "")
        vm = observed_vm or self._observer.fetch(action.vm_id)
        if vm.status is Status.DELETED:
            return self._save_vm_gone(operation, step)
        outcome, error = evaluate_outcome(step.verb, vm, lambda: self._backend.get_outcome(action))
        if error is not None:
            # the observation may predate the end of the action: only a new one proves a failure
            vm = self._observer.fetch(action.vm_id)
            outcome, error = evaluate_outcome(
                step.verb, vm, lambda: self._backend.get_outcome(action)
            )
        if error is not None:
            return replace(self._fail(operation, error), vm=vm)
        if outcome is ActionOutcome.PENDING:
            return ReconcileResult(operation, vm, waiting_on_cloud=True)
        return replace(self._save_step(operation, replace(step, state=StepState.DONE)), vm=vm)

    def _save_response(
        self,
        operation: Operation,
        step: Step,
        new: NewOperation | None,
        response: DispatchResult,
        *,
        is_first_attempt: bool,
    ) -> ReconcileResult:
        planned = replace(step, state=StepState.PLANNED)
        may_retry = not (is_first_attempt or operation.requires_caller_token)
        match response.state:
            case DispatchState.ACCEPTED:
                accepted = operation.as_recovered(step) if response.is_recovered else operation
                try:
                    return self._save_accepted(accepted, step, new, response.action)
                except errors.StoreUnavailable as error:
                    sent = f"The {operation.action} was sent to the cloud and continues."
                    raise errors.StoreUnavailable(
                        f"{error.detail} {sent}", operation_id=operation.id
                    ) from error
            case DispatchState.VM_GONE:
                return self._save_vm_gone(operation, step)
            case DispatchState.EXPIRED:
                return self._save_step(operation, planned)
            case DispatchState.NOT_SENT if may_retry:
                return replace(self._save_step(operation, planned), waiting_on_cloud=True)
        reason = response.error or errors.InternalError("The cloud gave no reason.")
        return self._fail(operation, reason)

    def _save_accepted(
        self,
        operation: Operation,
        step: Step,
        new: NewOperation | None,
        action: AcceptedAction | None,
    ) -> ReconcileResult:
        """Save that the cloud has accepted a step, with the VM of a create.

        A step without an action to wait for is done.
        """
        if action is None:
            return self._save_step(operation, replace(step, state=StepState.DONE))
        is_instant = self._backend.completes_immediately
        expected_vm = None
        if new is not None and step.verb is Verb.CREATE and not is_instant:
            # clouds report whole seconds
            at = self._backend.cloud_time().replace(microsecond=0)
            expected_vm = replace(new.vm, id=action.vm_id, created_at=at, updated_at=at)
        step = replace(step, state=StepState.ACCEPTED, request_id=action.request_id)
        operation, stored_vm = self._store.operations.save_accepted(
            replace(operation, vm_id=action.vm_id).with_step(step), expected_vm
        )
        return ReconcileResult(operation, waiting_on_cloud=not is_instant, stored_vm=stored_vm)

    def _save_vm_gone(self, operation: Operation, step: Step) -> ReconcileResult:
        """Save that the VM does not exist in the cloud: success for a delete only."""
        self._observer.mark_gone(recovery.require_vm_id(operation))
        if step.verb is Verb.DELETE:
            return self._save_step(operation, replace(step, state=StepState.DONE))
        return self._fail(operation, errors.BackendLost("The VM disappeared from the cloud."))

    def _save_step(self, operation: Operation, step: Step) -> ReconcileResult:
        """Save the state of the present step; the last one done ends the operation."""
        operation = operation.with_step(step)
        if operation.step is None:
            return self._finish(as_succeeded(operation, self._clock()))
        return ReconcileResult(self._store.operations.save(operation))

    def _fail(self, operation: Operation, error: errors.VmapiError) -> ReconcileResult:
        return replace(self._finish(as_failed(operation, error, self._clock())), error=error)

    def _finish(self, finished: Operation) -> ReconcileResult:
        # the same transaction changes name, audit trail and VM: `transitions.on_finished`
        finished = self._store.operations.save(finished)
        log_finished(finished)
        return ReconcileResult(finished)

    def _is_overdue(self, operation: Operation) -> bool:
        return self._clock() - recovery.began_at(operation) > self._deadlines[operation.action]

    def _may_still_arrive(self, operation: Operation, step: Step) -> bool:
        since = recovery.step_started_at(operation, step)
        return recovery.may_still_arrive(step, since, self._clock(), self._response_timeout)
