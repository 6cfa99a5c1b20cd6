"""Reconciling operations after a lost or broken response: the state of the cloud decides."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from structlog.testing import capture_logs

from tests.support.operation_steps import add_single_step, check_failed
from tests.support.reconciler_harness import RESPONSE_TIMEOUT, ReconcilerHarness
from vmapi import errors
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.access.caller import IdempotencyKey
from vmapi.domain.lifecycle import Action, Verb
from vmapi.domain.operation import OperationStatus, StepState
from vmapi.services.reconciler.recovery import ACTION_RECOVERY_WINDOW, CREATE_RECOVERY_WINDOW

TRANSIENT_ERRORS = [
    errors.BackendUnavailable("unavailable"),
    errors.BackendTimeout("late"),
    errors.BackendError("broken"),
]
CREATE_RECOVERY_SECONDS = CREATE_RECOVERY_WINDOW.total_seconds() + RESPONSE_TIMEOUT
ACTION_RECOVERY_SECONDS = ACTION_RECOVERY_WINDOW.total_seconds() + RESPONSE_TIMEOUT


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


def test_log_says_why_the_outcome_cannot_be_read() -> None:
    harness = ReconcilerHarness.build()
    operation = add_single_step(harness, Verb.STOP)
    error = errors.BackendUnavailable("The cloud does not respond.")
    error.reason = "connection refused"
    harness.backend.fail("outcome", error)
    with capture_logs() as logs:
        harness.reconcile(operation)
    retries = [line for line in logs if line["event"] == "outcome check failed, will retry"]
    assert [line["reason"] for line in retries] == [
        "The cloud does not respond: connection refused"
    ]
