"""Reconciling operations: every outcome of a call to the cloud."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.reconciler_harness import RESPONSE_TIMEOUT, ReconcilerHarness
from vmapi import errors
from vmapi.backends.base import ActionOutcome
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.caller import IdempotencyKey
from vmapi.domain.lifecycle import Action, Status, Task, Verb
from vmapi.domain.operation import Operation, OperationStatus, StepState
from vmapi.domain.vm import VMPatch
from vmapi.services.reconciler.progress import ReconcileResult
from vmapi.services.reconciler.recovery import ACTION_RECOVERY_WINDOW, CREATE_RECOVERY_WINDOW

TRANSIENT_ERRORS = [
    errors.BackendUnavailable("unavailable"),
    errors.BackendTimeout("late"),
    errors.BackendError("broken"),
]
DEADLINE_SECONDS = {Verb.CREATE: 1800, Verb.STOP: 600, Verb.DELETE: 600}
CREATE_RECOVERY_SECONDS = CREATE_RECOVERY_WINDOW.total_seconds() + RESPONSE_TIMEOUT
ACTION_RECOVERY_SECONDS = ACTION_RECOVERY_WINDOW.total_seconds() + RESPONSE_TIMEOUT
CREATE_AND_STOP = (Verb.CREATE, Verb.STOP)


def add_single_step(harness: ReconcilerHarness, verb: Verb) -> Operation:
    """Insert an operation with one step of this verb, on a VM that allows the verb."""
    if verb is Verb.CREATE:
        return harness.add_create()
    changes = VMPatch(name="web-2") if verb is Verb.UPDATE else None
    return harness.add_operation(Action(verb), vm_id=harness.running_vm(), patch=changes)


def check_failed(progress: ReconcileResult, code: str) -> None:
    operation = progress.operation
    assert operation.status is OperationStatus.FAILED
    assert operation.error is not None
    assert operation.error.code == code
    assert operation.finished_at is not None


def test_create_waits_for_the_build_and_then_stops_the_vm() -> None:
    harness = ReconcilerHarness.build("create=2,stop=1")
    operation = harness.add_create(*CREATE_AND_STOP)
    started_at = harness.clock()
    first = harness.reconcile(operation)
    assert first.waiting_on_cloud
    assert first.vm is not None
    assert first.vm.status is Status.BUILDING
    assert first.operation.vm_id == first.vm.id
    assert first.operation.status is OperationStatus.RUNNING
    assert first.operation.started_at == started_at
    harness.clock.sleep(2)
    second = harness.reconcile(operation)
    assert second.vm is not None
    assert (second.waiting_on_cloud, second.vm.task) == (True, Task.STOPPING)
    harness.clock.sleep(1)
    third = harness.reconcile(operation)
    assert third.vm is not None
    assert (third.operation.status, third.vm.status) == ("succeeded", Status.STOPPED)
    assert third.operation.finished_at == harness.clock() == started_at + timedelta(seconds=3)
    assert [step.state for step in third.operation.steps] == [StepState.DONE] * 2
    assert harness.backend.dispatched == {Verb.CREATE: 1, Verb.STOP: 1}


def test_steps_that_finish_immediately_finish_in_one_reconcile() -> None:
    harness = ReconcilerHarness.build()
    progress = harness.reconcile(harness.add_create(*CREATE_AND_STOP))
    assert progress.vm is not None
    assert (progress.operation.status, progress.vm.status) == ("succeeded", Status.STOPPED)


def test_reconcile_of_a_finished_operation_changes_nothing() -> None:
    harness = ReconcilerHarness.build()
    operation = harness.add_create()
    finished = harness.reconcile(operation).operation
    assert harness.reconcile(operation) == ReconcileResult(finished)
    assert harness.backend.dispatched == {Verb.CREATE: 1}


# Lost responses


@pytest.mark.parametrize(
    ("verb", "times"), [(Verb.CREATE, 1), (Verb.STOP, 1), (Verb.UPDATE, 2), (Verb.DELETE, 2)]
)
def test_lost_response_is_recovered(verb: Verb, times: int) -> None:
    harness = ReconcilerHarness.build()
    operation = add_single_step(harness, verb)
    method = verb.value if verb in (Verb.CREATE, Verb.UPDATE) else "perform"
    harness.backend.fail(method, errors.BackendTimeout("late"), done=True)
    with pytest.raises(errors.BackendTimeout) as caught:
        harness.reconcile(operation)
    assert caught.value.extra == {"operation_id": operation.id}
    step = harness.reload(operation).step
    assert step is not None
    assert step.state is StepState.DISPATCHING
    assert harness.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    # an update and a delete are idempotent
    assert harness.backend.dispatched == {verb: times}


def test_create_that_never_arrived_fails_without_a_second_dispatch() -> None:
    harness = ReconcilerHarness.build()
    operation = add_single_step(harness, Verb.CREATE)
    harness.backend.fail("create", errors.BackendTimeout("late"))
    with pytest.raises(errors.BackendTimeout):
        harness.reconcile(operation)
    harness.clock.sleep(CREATE_RECOVERY_SECONDS)
    assert harness.reconcile(operation).waiting_on_cloud
    harness.clock.sleep(0.001)
    progress = harness.reconcile(operation)
    check_failed(progress, "backend_timeout")
    assert progress.operation.error is not None
    assert progress.operation.error.detail == (
        "The create never reached the cloud; nothing was changed."
    )
    assert harness.backend.dispatched == {Verb.CREATE: 1}


def test_action_that_never_arrived_is_dispatched_again_after_the_recovery_window() -> None:
    harness = ReconcilerHarness.build()
    operation = add_single_step(harness, Verb.STOP)
    harness.backend.fail("perform", errors.BackendTimeout("late"))
    with pytest.raises(errors.BackendTimeout):
        harness.reconcile(operation)
    harness.clock.sleep(ACTION_RECOVERY_SECONDS)
    assert harness.reconcile(operation).waiting_on_cloud
    assert harness.backend.dispatched == {Verb.STOP: 1}
    harness.clock.sleep(0.001)
    assert harness.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert harness.backend.dispatched == {Verb.STOP: 2}


def test_action_that_arrives_late_gives_the_step_its_request_id() -> None:
    harness = ReconcilerHarness.build()
    operation = add_single_step(harness, Verb.STOP)
    harness.backend.fail("perform", errors.BackendTimeout("late"))
    with pytest.raises(errors.BackendTimeout):
        harness.reconcile(operation)
    harness.clock.sleep(ACTION_RECOVERY_SECONDS + 0.001)
    late_actions = []

    def arrive_late() -> None:
        # between the recovery and the second dispatch
        if harness.backend.dispatched[Verb.STOP] == 2 and not late_actions:
            late_actions.append(
                MemoryBackend.perform_action(harness.backend, operation.vm_id or "", Verb.STOP)
            )

    harness.backend.before_call = arrive_late
    progress = harness.reconcile(operation)
    assert progress.operation.status is OperationStatus.SUCCEEDED
    assert progress.operation.steps[0].request_id == late_actions[0].request_id


@pytest.mark.parametrize("verb", [Verb.UPDATE, Verb.DELETE])
def test_idempotent_verb_is_dispatched_again_at_once(verb: Verb) -> None:
    harness = ReconcilerHarness.build()
    operation = add_single_step(harness, verb)
    method = "update" if verb is Verb.UPDATE else "perform"
    harness.backend.fail(method, errors.BackendTimeout("late"))
    with pytest.raises(errors.BackendTimeout):
        harness.reconcile(operation)
    assert harness.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert harness.backend.dispatched == {verb: 2}


@pytest.mark.parametrize("verb", [Verb.UPDATE, Verb.DELETE])
def test_unavailable_cloud_does_not_fail_a_step_that_may_have_arrived(verb: Verb) -> None:
    harness = ReconcilerHarness.build()
    operation = add_single_step(harness, verb)
    method = "update" if verb is Verb.UPDATE else "perform"
    harness.backend.fail(method, errors.BackendTimeout("late"), done=True)
    harness.backend.fail(method, errors.BackendUnavailable("unavailable"))
    with pytest.raises(errors.BackendTimeout):
        harness.reconcile(operation)
    assert harness.reconcile(operation).waiting_on_cloud
    assert harness.reconcile(operation).operation.status is OperationStatus.SUCCEEDED


@pytest.mark.parametrize("error", TRANSIENT_ERRORS)
def test_recovery_of_a_lost_response_continues_while_the_cloud_is_unavailable(
    error: errors.VmapiError,
) -> None:
    harness = ReconcilerHarness.build()
    operation = harness.add_create()
    harness.backend.fail("create", errors.BackendTimeout("late"), done=True)
    with pytest.raises(errors.BackendTimeout):
        harness.reconcile(operation)
    harness.backend.fail("find", error)
    assert harness.reconcile(operation).waiting_on_cloud
    assert harness.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert harness.backend.dispatched == {Verb.CREATE: 1}


def test_lost_response_about_a_missing_vm_fails_as_backend_lost() -> None:
    harness = ReconcilerHarness.build()
    operation = add_single_step(harness, Verb.STOP)
    harness.backend.fail("perform", errors.BackendTimeout("late"))
    with pytest.raises(errors.BackendTimeout):
        harness.reconcile(operation)
    harness.backend.fail("find", errors.VMNotFound("gone"))
    check_failed(harness.reconcile(operation), "backend_lost")


# Unavailable cloud


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


# Broken responses


@pytest.mark.parametrize("verb", [Verb.CREATE, Verb.STOP, Verb.DELETE])
def test_broken_response_to_a_completed_call_is_recovered_at_once(verb: Verb) -> None:
    harness = ReconcilerHarness.build("delete=1")
    operation = add_single_step(harness, verb)
    method = "create" if verb is Verb.CREATE else "perform"
    harness.backend.fail(method, errors.BackendError("broken"), done=True)
    progress = harness.reconcile(operation)
    assert progress.error is None
    harness.clock.sleep(1)
    assert harness.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert harness.backend.dispatched == {verb: 1}


@pytest.mark.parametrize("verb", [Verb.CREATE, Verb.STOP, Verb.UPDATE, Verb.DELETE])
def test_broken_response_to_a_call_without_effect_fails_the_operation(verb: Verb) -> None:
    harness = ReconcilerHarness.build()
    operation = add_single_step(harness, verb)
    method = verb.value if verb in (Verb.CREATE, Verb.UPDATE) else "perform"
    harness.backend.fail(method, errors.BackendError("broken"))
    check_failed(harness.reconcile(operation), "backend_error")
    assert harness.backend.dispatched == {verb: 1}


@pytest.mark.parametrize("error", TRANSIENT_ERRORS)
@pytest.mark.parametrize("verb", [Verb.CREATE, Verb.STOP])
def test_broken_response_with_a_failing_recovery_has_an_unknown_outcome(
    verb: Verb, error: errors.VmapiError
) -> None:
    harness = ReconcilerHarness.build()
    operation = add_single_step(harness, verb)
    method = "create" if verb is Verb.CREATE else "perform"
    harness.backend.fail(method, errors.BackendError("broken"), done=True)
    harness.backend.fail("find", error)
    with pytest.raises(errors.BackendTimeout) as caught:
        harness.reconcile(operation)
    assert caught.value.extra == {"operation_id": operation.id}
    assert harness.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert harness.backend.dispatched == {verb: 1}


@pytest.mark.parametrize(("verb", "status"), [(Verb.STOP, "failed"), (Verb.DELETE, "succeeded")])
def test_broken_response_about_a_missing_vm_finishes_the_operation(verb: Verb, status: str) -> None:
    harness = ReconcilerHarness.build()
    operation = add_single_step(harness, verb)
    harness.backend.fail("perform", errors.BackendError("broken"))
    harness.backend.fail("find", errors.VMNotFound("gone"))
    assert harness.reconcile(operation).operation.status == status


# Refusals


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


# Failures after the dispatch


@pytest.mark.parametrize("fault", ["no_capacity", "build_failed"])
def test_failed_build_fails_the_create(fault: str) -> None:
    harness = ReconcilerHarness.build()
    harness.backend.set_faults(f"{fault}=1")
    progress = harness.reconcile(harness.add_create(*CREATE_AND_STOP))
    check_failed(progress, fault)
    assert progress.vm is not None
    assert progress.vm.fault is not None
    assert progress.operation.error is not None
    assert progress.operation.error.detail == progress.vm.fault.message
    assert progress.operation.error.extra == {"hint": progress.vm.fault.hint}
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


# Deadlines


@pytest.mark.parametrize("verb", [Verb.CREATE, Verb.STOP, Verb.DELETE])
def test_deadline_fails_the_operation_and_leaves_the_vm(verb: Verb) -> None:
    harness = ReconcilerHarness.build("create=0,stop=3600,delete=3600")
    if verb is Verb.CREATE:
        harness = ReconcilerHarness.build("create=3600")
    operation = add_single_step(harness, verb)
    vm_id = harness.reconcile(operation).operation.vm_id
    assert vm_id is not None
    harness.clock.sleep(DEADLINE_SECONDS[verb])
    assert harness.reconcile(operation).waiting_on_cloud
    harness.clock.sleep(0.001)
    progress = harness.reconcile(operation)
    check_failed(progress, "operation_timeout")
    assert isinstance(progress.error, errors.OperationTimeout)
    assert progress.error.detail == (
        f"The {verb} did not end within {DEADLINE_SECONDS[verb]} seconds. The VM was left as it is."
    )
    assert harness.backend.dispatched == {verb: 1}
    assert harness.backend.get_vm(vm_id).id == vm_id


@pytest.mark.parametrize("verb", [Verb.CREATE, Verb.STOP])
def test_step_finished_before_the_deadline_succeeds_when_observed_late(verb: Verb) -> None:
    harness = (
        ReconcilerHarness.build("stop=1")
        if verb is Verb.STOP
        else ReconcilerHarness.build("create=1")
    )
    operation = add_single_step(harness, verb)
    assert harness.reconcile(operation).waiting_on_cloud
    harness.clock.sleep(2 * DEADLINE_SECONDS[verb])
    assert harness.reconcile(operation).operation.status is OperationStatus.SUCCEEDED


def test_planned_step_is_not_dispatched_after_the_deadline() -> None:
    harness = ReconcilerHarness.build()
    operation = add_single_step(harness, Verb.STOP)
    harness.clock.sleep(DEADLINE_SECONDS[Verb.STOP] + 1)
    check_failed(harness.reconcile(operation), "operation_timeout")
    assert not harness.backend.dispatched


@pytest.mark.parametrize("error", TRANSIENT_ERRORS)
def test_unavailable_cloud_at_the_deadline_fails_the_operation(error: errors.VmapiError) -> None:
    harness = ReconcilerHarness.build("stop=1")
    operation = add_single_step(harness, Verb.STOP)
    harness.reconcile(operation)
    harness.clock.sleep(DEADLINE_SECONDS[Verb.STOP] + 1)
    harness.backend.fail("get", error)
    check_failed(harness.reconcile(operation), "operation_timeout")


def test_lost_create_with_a_deleted_vm_fails_as_backend_lost() -> None:
    harness = ReconcilerHarness.build()
    operation = harness.add_create(reserved_name="web-1")
    harness.backend.fail("create", errors.BackendTimeout("late"), done=True)
    with pytest.raises(errors.BackendTimeout):
        harness.reconcile_copy(operation)
    (vm,) = harness.backend.list_vms()
    harness.backend.perform_action(vm.id, Verb.DELETE)
    harness.clock.sleep(CREATE_RECOVERY_SECONDS + 1)
    finished_result = harness.reconcile(operation)
    check_failed(finished_result, "backend_lost")
    assert finished_result.error is not None
    assert (finished_result.error.detail, finished_result.error.extra) == (
        "The VM was made, and deleted since.",
        {"vm_id": vm.id},
    )


def test_lost_create_does_not_match_the_deleted_vm_of_another_create() -> None:
    harness = ReconcilerHarness.build()
    harness.backend.perform_action(harness.running_vm(), Verb.DELETE)
    harness.clock.sleep(10)
    operation = harness.add_create(reserved_name="web-1")
    harness.backend.fail("create", errors.BackendTimeout("late"))
    with pytest.raises(errors.BackendTimeout):
        harness.reconcile_copy(operation)
    harness.clock.sleep(CREATE_RECOVERY_SECONDS + 1)
    check_failed(harness.reconcile(operation), "backend_timeout")


# Observed VMs


def test_observed_vm_saves_a_call_to_the_cloud() -> None:
    harness = ReconcilerHarness.build("stop=1")
    operation = add_single_step(harness, Verb.STOP)
    started = harness.reconcile(operation).operation
    harness.clock.sleep(1)
    observed_vm = harness.backend.get_vm(started.vm_id or "")
    harness.backend.fail("get", errors.BackendError("unexpected call"))
    progress = harness.reconcile_copy(started, observed_vm)
    assert (progress.operation.status, progress.vm) == (OperationStatus.SUCCEEDED, observed_vm)


def test_observed_vm_is_used_for_one_step_only() -> None:
    harness = ReconcilerHarness.build("create=1,stop=1")
    operation = harness.add_create(*CREATE_AND_STOP)
    started = harness.reconcile(operation).operation
    harness.clock.sleep(1)
    observed_vm = harness.backend.get_vm(started.vm_id or "")
    assert (observed_vm.status, observed_vm.task) == (Status.RUNNING, None)
    progress = harness.reconcile_copy(started, observed_vm)
    assert progress.waiting_on_cloud
    assert progress.vm is not None
    assert progress.vm.task is Task.STOPPING


# Concurrency


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


def test_concurrent_reconciles_recover_a_lost_create_without_a_second_dispatch() -> None:
    harness = ReconcilerHarness.build()
    operation = harness.add_create()
    harness.backend.fail("create", errors.BackendTimeout("late"), done=True)
    with pytest.raises(errors.BackendTimeout):
        harness.reconcile(operation)
    lost = harness.reload(operation)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: harness.reconciler.reconcile(lost), range(64)))
    assert harness.reload(operation).status is OperationStatus.SUCCEEDED
    assert harness.backend.dispatched == {Verb.CREATE: 1}
    assert len(harness.backend.list_vms()) == 1


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


def test_lost_restart_does_not_match_the_restart_before_it() -> None:
    harness = ReconcilerHarness.build()
    vm_id = harness.running_vm()
    first = harness.add_operation(Action.RESTART, Verb.RESTART_HARD, vm_id=vm_id)
    harness.reconcile(first)
    second = harness.add_operation(Action.RESTART, Verb.RESTART_HARD, vm_id=vm_id)
    harness.backend.fail("perform", errors.BackendTimeout("late"))
    with pytest.raises(errors.BackendTimeout):
        harness.reconcile(second)
    assert harness.reconcile(second).waiting_on_cloud
    harness.clock.sleep(ACTION_RECOVERY_SECONDS + 1)
    assert harness.reconcile(second).operation.status is OperationStatus.SUCCEEDED
    assert harness.backend.dispatched[Verb.RESTART_HARD] == 3


def test_deadline_does_not_fail_a_create_within_its_recovery_window() -> None:
    harness = ReconcilerHarness.build()
    operation = harness.add_create(key=IdempotencyKey("me", "k", "f"))
    operation = replace(operation, created_at=harness.clock() - timedelta(days=1))
    harness.backend.fail("create", errors.BackendTimeout("late"))
    with pytest.raises(errors.BackendTimeout):
        harness.reconcile_copy(replace(operation, created_at=harness.clock()))
    overdue = replace(harness.reload(operation), created_at=operation.created_at)
    assert harness.reconcile_copy(overdue).waiting_on_cloud
    harness.clock.sleep(CREATE_RECOVERY_SECONDS + 1)
    harness.backend.fail("find", errors.BackendUnavailable("unavailable"))
    progress = harness.reconcile_copy(overdue)
    check_failed(progress, "operation_timeout")
    # the create may have made a VM: a repeated request must not make another one
    assert progress.operation.key is not None


def test_create_that_made_no_vm_frees_its_idempotency_key() -> None:
    harness = ReconcilerHarness.build()
    operation = harness.add_create(key=IdempotencyKey("me", "k", "f"))
    harness.backend.fail("create", errors.BackendTimeout("late"))
    with pytest.raises(errors.BackendTimeout):
        harness.reconcile_copy(operation)
    harness.clock.sleep(CREATE_RECOVERY_SECONDS + 1)
    progress = harness.reconcile(operation)
    check_failed(progress, "backend_timeout")
    assert progress.operation.key is None
