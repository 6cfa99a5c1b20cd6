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
    defect_error,
    save_result,
)
from vmapi.store.conflicts import OperationRevisionConflict
from vmapi.store.store import Store
from vmapi.telemetry.operator_text import operator_text

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
            if new.operation.started_at is not None:
                result = self._dispatch(result, new.operation.steps[0], new, is_first_attempt=True)
            result = self._run(result, None, new)
        except OperationRevisionConflict:
            result = ReconcileResult(self._store.operations.get(new.operation.id))
        finally:
            self._store.operations.release(new.operation.id)
            if not (result.is_saved and result.operation.is_finished):
                self._notify_engine(new.operation.id)
        return result

    def reconcile(self, operation: Operation, observed_vm: VM | None = None) -> ReconcileResult:
        """Reconcile an operation until it is finished or must wait for the cloud.

        Do nothing while another thread or process holds the lease. `observed_vm` is a saved and
        current observation of the VM, which saves a request. Raises BackendTimeout if the outcome
        of a step is unknown, StoreUnavailable if the result cannot be saved.
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
        """Reconcile until the operation is finished or must wait, and save it."""
        while not (result.operation.is_finished or result.waiting_on_cloud):
            result, observed_vm = self._reconcile_once(result, observed_vm, new), None
        return save_result(self._observer, result)

    def _reconcile_once(
        self, result: ReconcileResult, observed_vm: VM | None, new: NewOperation | None
    ) -> ReconcileResult:
        operation, step = result.operation, result.operation.step
        if step is None:
            return result.changed(as_succeeded(operation, self._clock()))
        if step.state is StepState.PLANNED:
            return self._dispatch_planned(result, step, new)
        if recovery.is_from_wrong_clock(operation.step_started_at(step), self._clock()):
            # the time limits begin again: they may be too long, never too short
            return self._with_step(result, replace(step, started_at=self._clock()))
        is_overdue = self._is_overdue(operation)
        result = self._check_progress(result, step, observed_vm)
        if result.waiting_on_cloud and is_overdue and not self._may_still_arrive(operation, step):
            return self._fail(result, timeout_error(operation, self._deadlines))
        return result

    def _dispatch_planned(
        self, result: ReconcileResult, step: Step, new: NewOperation | None
    ) -> ReconcileResult:
        operation = result.operation
        is_first = operation.started_at is None
        # only the process of the request has the spec of a create, and has checked a new name
        is_name_unchecked = is_first and operation.reserved_name is not None
        if new is None and (step.verb is Verb.CREATE or is_name_unchecked):
            return self._fail(result, self._dispatcher.not_sendable_error())
        if self._is_overdue(operation):
            return self._fail(result, timeout_error(operation, self._deadlines))
        result = result.changed(operation.as_dispatching(self._clock()))
        result = save_result(self._observer, result)
        return self._dispatch(result, result.operation.step or step, new, is_first_attempt=is_first)

    def _dispatch(
        self,
        result: ReconcileResult,
        step: Step,
        new: NewOperation | None,
        *,
        is_first_attempt: bool,
    ) -> ReconcileResult:
        """Send a step that is saved as dispatching."""
        response = self._dispatcher.dispatch(
            result.operation, step, new, is_first_attempt=is_first_attempt
        )
        planned = replace(step, state=StepState.PLANNED)
        may_retry = not (is_first_attempt or result.operation.requires_caller_token)
        match response.state:
            case DispatchState.ACCEPTED:
                return self._accept(result, step, new, response)
            case DispatchState.VM_GONE:
                return self._end_missing(result, step)
            case DispatchState.EXPIRED:
                return self._with_step(result, planned)
            case DispatchState.NOT_SENT if may_retry:
                retried = self._with_step(result, planned)
                return replace(retried, waiting_on_cloud=True, failure=response.error)
        reason = response.error or errors.InternalError("The cloud gave no reason.")
        return self._fail(result, reason)

    def _check_progress(
        self, result: ReconcileResult, step: Step, observed_vm: VM | None
    ) -> ReconcileResult:
        operation = result.operation
        try:
            if step.state is StepState.DISPATCHING:
                return self._recover(result, step)
            return self._check_outcome(result, step, observed_vm)
        except errors.StoreUnavailable:
            if result.is_saved:
                raise
        except errors.VmapiError as error:
            # a create that has no VM yet may find it later
            if is_gone(error) and operation.vm_id is not None:
                return self._end_missing(result, step)
            log.warning(
                "outcome check failed, will retry",
                operation_id=operation.id,
                reason=operator_text(error),
            )
            return replace(result, waiting_on_cloud=True, failure=error)
        except Exception as error:
            # a defect of vmapi: `DefectLimiter` counts the attempts
            log.exception("outcome check failed, will retry", operation_id=operation.id)
            return replace(result, waiting_on_cloud=True, failure=defect_error(error))
        return replace(result, waiting_on_cloud=True)

    def _recover(self, result: ReconcileResult, step: Step) -> ReconcileResult:
        operation, planned = result.operation, replace(step, state=StepState.PLANNED)
        if step.verb in (Verb.UPDATE, Verb.DELETE) and not operation.requires_caller_token:
            # a repeated update or delete changes nothing
            return self._with_step(result, planned)
        action = self._dispatcher.find_action(operation, step)
        if action is not None or self._dispatcher.is_update_applied(operation):
            response = DispatchResult(DispatchState.ACCEPTED, action, is_recovered=True)
            return self._accept(result, step, None, response)
        if self._may_still_arrive(operation, step):
            return replace(result, waiting_on_cloud=True)
        if step.verb is Verb.CREATE or operation.requires_caller_token:
            return self._fail(result, self._dispatcher.not_found_error(operation, step))
        log.info(
            "re-dispatching action",
            operation_id=operation.id,
            vm_id=operation.vm_id,
            verb=step.verb,
        )
        return self._with_step(result, planned)

    def _check_outcome(
        self, result: ReconcileResult, step: Step, observed_vm: VM | None
    ) -> ReconcileResult:
        action = AcceptedAction(result.operation.require_vm_id(), step.request_id or "")
        verb, vm = step.verb, observed_vm
        if vm is None:
            result, vm = self._observe(result, action.vm_id)
        if vm.status is Status.DELETED:
            return self._end_without_vm(result, step)
        outcome, error = evaluate_outcome(verb, vm, lambda: self._backend.get_outcome(action))
        if error is not None:
            # the observation may predate the end of the action: only a new one proves a failure
            result, vm = self._observe(result, action.vm_id)
            outcome, error = evaluate_outcome(verb, vm, lambda: self._backend.get_outcome(action))
        if error is not None:
            return self._fail(result, error)
        if outcome is ActionOutcome.PENDING:
            return replace(result, waiting_on_cloud=True)
        return self._with_step(result, replace(step, state=StepState.DONE))

    def _observe(self, result: ReconcileResult, vm_id: str) -> tuple[ReconcileResult, VM]:
        observation = self._observer.observe(vm_id)
        return replace(result, observation=observation), observation.vms[0]

    def _accept(
        self,
        result: ReconcileResult,
        step: Step,
        new: NewOperation | None,
        response: DispatchResult,
    ) -> ReconcileResult:
        """Take a step as accepted by the cloud; without an action to wait for it is done."""
        operation, action = result.operation, response.action
        if response.is_recovered:
            operation = operation.as_recovered(step)
        if action is None:
            result = result.changed(operation, observation=response.observation)
            return self._with_step(result, replace(step, state=StepState.DONE))
        is_instant = self._backend.completes_immediately
        expected_vm = None
        if new is not None and step.verb is Verb.CREATE and not is_instant:
            # clouds report whole seconds
            at = self._backend.cloud_time().replace(microsecond=0)
            expected_vm = replace(new.vm, id=action.vm_id, created_at=at, updated_at=at)
        step = replace(step, state=StepState.ACCEPTED, request_id=action.request_id)
        return result.changed(
            replace(operation, vm_id=action.vm_id).with_step(step),
            expected_vm=expected_vm,
            waiting_on_cloud=not is_instant,
        )

    def _end_missing(self, result: ReconcileResult, step: Step) -> ReconcileResult:
        """End an operation on a VM that the cloud does not have, and record the deletion."""
        vm_id = result.operation.require_vm_id()
        result = replace(result, observation=self._observer.observe_gone(vm_id))
        return self._end_without_vm(result, step)

    def _end_without_vm(self, result: ReconcileResult, step: Step) -> ReconcileResult:
        """End an operation on a deleted VM: with success for a delete only."""
        if step.verb is Verb.DELETE:
            return self._with_step(result, replace(step, state=StepState.DONE))
        return self._fail(result, errors.BackendLost("The VM disappeared from the cloud."))

    def _with_step(self, result: ReconcileResult, step: Step) -> ReconcileResult:
        """Change the present step; the last one done ends the operation."""
        operation = result.operation.with_step(step)
        if operation.step is None:
            operation = as_succeeded(operation, self._clock())
        return result.changed(operation)

    def _fail(self, result: ReconcileResult, error: errors.VmapiError) -> ReconcileResult:
        failed = as_failed(result.operation, error, self._clock())
        return result.changed(failed, error=error, waiting_on_cloud=False)

    def _is_overdue(self, operation: Operation) -> bool:
        return self._clock() - operation.began_at > self._deadlines[operation.action]

    def _may_still_arrive(self, operation: Operation, step: Step) -> bool:
        since = operation.step_started_at(step)
        return recovery.may_still_arrive(step, since, self._clock(), self._response_timeout)
