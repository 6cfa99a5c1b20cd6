"""Reconciling operations: every outcome of a call to the cloud."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tests.support.operation_steps import add_single_step, check_failed
from tests.support.reconciler_harness import ReconcilerHarness
from vmapi import errors
from vmapi.backends.base import ActionOutcome
from vmapi.domain.lifecycle import Action, Status, Task, Verb
from vmapi.domain.operation import Operation, OperationStatus, StepState
from vmapi.services.reconciler.progress import ReconcileResult

TRANSIENT_ERRORS = [
    errors.BackendUnavailable("unavailable"),
    errors.BackendTimeout("late"),
    errors.BackendError("broken"),
]
CREATE_AND_STOP = (Verb.CREATE, Verb.STOP)


def test_create_waits_for_the_build_and_then_stops_the_vm() -> None:
    harness = ReconcilerHarness.build("create=2,stop=1")
    operation = harness.add_create(*CREATE_AND_STOP)
    started_at = harness.clock()
    first = harness.reconcile(operation)
    assert first.waiting_on_cloud
    assert harness.inventory_vm(operation).status is Status.BUILDING
    assert first.operation.status is OperationStatus.RUNNING
    assert first.operation.started_at == started_at
    harness.clock.sleep(2)
    second = harness.reconcile(operation)
    assert second.waiting_on_cloud
    # the task of the create, until the VM is stopped
    assert harness.inventory_vm(operation).task is Task.CREATING
    assert harness.backend.get_vm(second.operation.vm_id or "").task is Task.STOPPING
    harness.clock.sleep(1)
    third = harness.reconcile(operation)
    assert third.operation.status is OperationStatus.SUCCEEDED
    assert harness.inventory_vm(operation).status is Status.STOPPED
    assert third.operation.finished_at == harness.clock() == started_at + timedelta(seconds=3)
    assert [step.state for step in third.operation.steps] == [StepState.DONE] * 2
    assert harness.backend.dispatched == {Verb.CREATE: 1, Verb.STOP: 1}


def test_steps_that_finish_immediately_finish_in_one_reconcile() -> None:
    harness = ReconcilerHarness.build()
    operation = harness.add_create(*CREATE_AND_STOP)
    assert harness.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert harness.inventory_vm(operation).status is Status.STOPPED


def test_reconcile_of_a_finished_operation_changes_nothing() -> None:
    harness = ReconcilerHarness.build()
    operation = harness.add_create()
    finished = harness.reconcile(operation).operation
    assert harness.reconcile(operation) == ReconcileResult(finished)
    assert harness.backend.dispatched == {Verb.CREATE: 1}


@pytest.mark.parametrize("verb", [Verb.CREATE, Verb.STOP, Verb.UPDATE, Verb.DELETE])
def test_unavailable_cloud_at_the_first_step_fails_the_operation(verb: Verb) -> None:
    harness = ReconcilerHarness.build()
    operation = add_single_step(harness, verb)
    method = verb.value if verb in (Verb.CREATE, Verb.UPDATE) else "perform"
    unavailable = errors.BackendUnavailable("unavailable")
    harness.backend.fail(method, unavailable)
    progress = harness.reconcile(operation)
    check_failed(progress, "backend_unavailable")
    assert progress.error is unavailable
    assert not harness.operations.list_leased()


def test_unavailable_cloud_at_a_later_step_is_retried() -> None:
    harness = ReconcilerHarness.build()
    operation = harness.add_create(*CREATE_AND_STOP)
    harness.backend.fail("perform", *[errors.BackendUnavailable("unavailable")] * 2)
    for _ in range(2):
        progress = harness.reconcile(operation)
        assert progress.waiting_on_cloud
        assert progress.operation.step is not None
        assert progress.operation.step.state is StepState.PLANNED
    assert harness.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert harness.backend.dispatched == {Verb.CREATE: 1, Verb.STOP: 3}


@pytest.mark.parametrize("error", TRANSIENT_ERRORS)
@pytest.mark.parametrize("method", ["get", "outcome"])
def test_polling_continues_while_the_cloud_is_unavailable(
    method: str, error: errors.VmapiError
) -> None:
    harness = ReconcilerHarness.build()
    operation = add_single_step(harness, Verb.STOP)
    harness.backend.fail(method, error)
    assert harness.reconcile(operation).waiting_on_cloud
    assert harness.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert harness.backend.dispatched == {Verb.STOP: 1}


@pytest.mark.parametrize(
    "error_type", [errors.InvalidState, errors.QuotaExceeded, errors.VMNotFound]
)
def test_refusal_fails_the_operation(error_type: type[errors.VmapiError]) -> None:
    harness = ReconcilerHarness.build()
    operation = add_single_step(harness, Verb.STOP)
    refusal = error_type("no", hint="why")
    harness.backend.fail("perform", refusal)
    progress = harness.reconcile(operation)
    check_failed(progress, error_type.code)
    assert progress.error is refusal
    assert progress.operation.error is not None
    assert progress.operation.error.extra == {"hint": "why"}


def test_delete_of_a_missing_vm_succeeds() -> None:
    harness = ReconcilerHarness.build()
    operation = add_single_step(harness, Verb.DELETE)
    harness.backend.fail("perform", errors.VMNotFound("gone"))
    assert harness.reconcile(operation).operation.status is OperationStatus.SUCCEEDED


def test_vm_missing_between_two_steps_fails_as_backend_lost() -> None:
    harness = ReconcilerHarness.build()
    operation = harness.add_operation(
        Action.STOP, Verb.RESUME, Verb.STOP, vm_id=harness.paused_vm()
    )
    harness.backend.fail("perform", None, errors.VMNotFound("gone"))
    check_failed(harness.reconcile(operation), "backend_lost")


@pytest.mark.parametrize("fault", ["no_capacity", "build_failed"])
def test_failed_build_fails_the_create(fault: str) -> None:
    harness = ReconcilerHarness.build()
    harness.backend.set_faults(f"{fault}=1")
    progress = harness.reconcile(harness.add_create(*CREATE_AND_STOP))
    check_failed(progress, fault)
    vm_fault = harness.inventory_vm(progress.operation).fault
    assert vm_fault is not None
    assert progress.operation.error is not None
    assert progress.operation.error.detail == vm_fault.message
    assert progress.operation.error.extra == {"hint": vm_fault.hint}
    assert harness.backend.dispatched == {Verb.CREATE: 1}


@pytest.mark.parametrize("action", [Action.STOP, Action.PAUSE])
def test_failed_action_fails_the_operation(action: Action) -> None:
    harness = ReconcilerHarness.build()
    vm_id = harness.running_vm()
    harness.backend.set_faults("action_failed=1")
    progress = harness.reconcile(harness.add_operation(action, vm_id=vm_id))
    check_failed(progress, "backend_error")
    assert harness.backend.get_vm(vm_id).status is Status.RUNNING


def test_failed_step_prevents_the_steps_after_it() -> None:
    harness = ReconcilerHarness.build()
    vm_id = harness.paused_vm()
    harness.backend.set_faults("action_failed=1")
    check_failed(
        harness.reconcile(harness.add_operation(Action.STOP, Verb.RESUME, Verb.STOP, vm_id=vm_id)),
        "backend_error",
    )
    assert harness.backend.dispatched == {Verb.RESUME: 1}


@pytest.mark.parametrize(
    ("verb", "status"),
    [(Verb.CREATE, "failed"), (Verb.STOP, "failed"), (Verb.DELETE, "succeeded")],
)
def test_vm_missing_during_a_step_finishes_the_operation(verb: Verb, status: str) -> None:
    harness = ReconcilerHarness.build("create=2,stop=2,delete=2")
    operation = add_single_step(harness, verb)
    assert harness.reconcile(operation).waiting_on_cloud
    harness.backend.fail("get", errors.VMNotFound("gone"))
    finished = harness.reconcile(operation).operation
    assert finished.status == status
    assert (finished.error and finished.error.code) == (
        "backend_lost" if status == "failed" else None
    )


def test_vm_in_an_unexpected_status_fails_the_operation() -> None:
    harness = ReconcilerHarness.build("stop=1,pause=1")
    vm_id = harness.running_vm()
    operation = harness.add_operation(Action.STOP, vm_id=vm_id)
    harness.reconcile(operation)
    harness.clock.sleep(1)
    harness.backend.get_vm(vm_id)
    harness.backend.perform_action(vm_id, Verb.START)
    progress = harness.reconcile(operation)
    check_failed(progress, "backend_error")
    assert progress.operation.error is not None
    assert progress.operation.error.detail == "After the stop the VM is RUNNING."


def test_observed_vm_saves_a_call_to_the_cloud() -> None:
    harness = ReconcilerHarness.build("stop=1")
    operation = add_single_step(harness, Verb.STOP)
    started = harness.reconcile(operation).operation
    harness.clock.sleep(1)
    observed_vm = harness.backend.get_vm(started.vm_id or "")
    harness.backend.fail("get", errors.BackendError("unexpected call"))
    progress = harness.reconcile_copy(started, observed_vm)
    assert progress.operation.status is OperationStatus.SUCCEEDED


def test_observed_vm_is_used_for_one_step_only() -> None:
    harness = ReconcilerHarness.build("create=1,stop=1")
    operation = harness.add_create(*CREATE_AND_STOP)
    started = harness.reconcile(operation).operation
    harness.clock.sleep(1)
    observed_vm = harness.backend.get_vm(started.vm_id or "")
    assert (observed_vm.status, observed_vm.task) == (Status.RUNNING, None)
    progress = harness.reconcile_copy(started, observed_vm)
    assert progress.waiting_on_cloud
    assert [step.state for step in progress.operation.steps] == [StepState.DONE, StepState.ACCEPTED]


def test_reconcile_skips_an_operation_under_another_lease() -> None:
    harness = ReconcilerHarness.build()
    operation = harness.add_create()
    harness.release(operation)
    with harness.operations.lease(operation.id) as lease_acquired:
        assert lease_acquired
        assert harness.reconcile(operation) == ReconcileResult(operation)
    assert not harness.backend.dispatched


def test_reconcile_of_a_stale_copy_returns_the_stored_operation() -> None:
    harness = ReconcilerHarness.build("create=1")
    stale = harness.add_create()
    stored = harness.reconcile(stale).operation
    assert harness.reconcile_copy(stale) == ReconcileResult(stored)
    harness.clock.sleep(1)
    finished = harness.reconcile(stale).operation
    assert harness.reconcile_copy(stored) == ReconcileResult(finished)
    assert harness.backend.dispatched == {Verb.CREATE: 1}


def test_operation_superseded_by_a_delete_dispatches_no_further_step() -> None:
    harness = ReconcilerHarness.build()
    vm_id = harness.paused_vm()
    operation = harness.add_operation(Action.STOP, Verb.RESUME, Verb.STOP, vm_id=vm_id)
    deletes: list[Operation] = []

    def insert_delete() -> None:
        if not deletes:
            deletes.append(harness.add_operation(Action.DELETE, vm_id=vm_id))

    harness.backend.before_call = insert_delete
    finished = harness.reconcile(operation).operation
    assert finished.status is OperationStatus.SUPERSEDED
    assert finished.finished_at == harness.clock()
    assert harness.backend.dispatched == {Verb.RESUME: 1}


def test_concurrent_reconciles_dispatch_a_restart_once() -> None:
    harness = ReconcilerHarness.build()
    operation = harness.add_operation(Action.RESTART, Verb.RESTART_SOFT, vm_id=harness.running_vm())
    harness.release(operation)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: harness.reconciler.reconcile(operation), range(64)))
    assert harness.reload(operation).status is OperationStatus.SUCCEEDED
    assert harness.backend.dispatched == {Verb.RESTART_SOFT: 1}


def test_action_without_a_vm_fails_as_internal_error() -> None:
    harness = ReconcilerHarness.build()
    check_failed(harness.reconcile(harness.add_operation(Action.STOP)), "internal_error")


def test_create_without_its_spec_fails_undispatched() -> None:
    harness = ReconcilerHarness.build()
    progress = harness.reconcile(harness.add_create(spec=None))
    check_failed(progress, "backend_unavailable")
    assert progress.error is not None
    assert progress.error.detail == "vmapi died before this was sent; send it again."
    assert not harness.backend.dispatched


def test_pending_outcome_keeps_the_operation_waiting() -> None:
    harness = ReconcilerHarness.build("stop=1")
    vm_id = harness.running_vm()
    operation = harness.add_operation(Action.STOP, vm_id=vm_id)
    progress = harness.reconcile(operation)
    assert progress.waiting_on_cloud
    assert progress.operation.step is not None
    assert progress.operation.step.request_id is not None
    receipt = harness.backend.find_action(vm_id, Verb.STOP, harness.clock())
    assert receipt is not None
    assert harness.backend.get_outcome(receipt) is ActionOutcome.PENDING
    assert progress.operation.step.request_id == receipt.request_id
