"""Advancing operations: each way that a call to the cloud can go."""

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

AWAY = [
    errors.BackendUnavailable("away"),
    errors.BackendTimeout("late"),
    errors.BackendError("broken"),
]
DEADLINES = {Verb.CREATE: 1800, Verb.STOP: 600, Verb.DELETE: 600}
LOST = CREATE_RECOVERY_WINDOW.total_seconds() + RESPONSE_TIMEOUT
LOST_ACTION = ACTION_RECOVERY_WINDOW.total_seconds() + RESPONSE_TIMEOUT
CREATE_STOPPED = (Verb.CREATE, Verb.STOP)


def order(desk: ReconcilerHarness, verb: Verb) -> Operation:
    """Keep an operation of one step of this verb, on a VM on which it makes sense."""
    if verb is Verb.CREATE:
        return desk.add_create()
    changes = VMPatch(name="web-2") if verb is Verb.UPDATE else None
    return desk.add_operation(Action(verb), vm_id=desk.running_vm(), patch=changes)


def check_failed(progress: ReconcileResult, code: str) -> None:
    operation = progress.operation
    assert operation.status is OperationStatus.FAILED
    assert operation.error is not None
    assert operation.error.code == code
    assert operation.finished_at is not None


def test_a_create_that_takes_its_time() -> None:
    desk = ReconcilerHarness.build("create=2,stop=1")
    operation = desk.add_create(*CREATE_STOPPED)
    begun = desk.clock()
    first = desk.reconcile(operation)
    assert first.waiting_on_cloud
    assert first.vm is not None
    assert first.vm.status is Status.BUILDING
    assert first.operation.vm_id == first.vm.id
    assert first.operation.status is OperationStatus.RUNNING
    assert first.operation.started_at == begun
    desk.clock.sleep(2)
    second = desk.reconcile(operation)
    assert second.vm is not None
    assert (second.waiting_on_cloud, second.vm.task) == (True, Task.STOPPING)
    desk.clock.sleep(1)
    third = desk.reconcile(operation)
    assert third.vm is not None
    assert (third.operation.status, third.vm.status) == ("succeeded", Status.STOPPED)
    assert third.operation.finished_at == desk.clock() == begun + timedelta(seconds=3)
    assert [step.state for step in third.operation.steps] == [StepState.DONE] * 2
    assert desk.backend.dispatched == {Verb.CREATE: 1, Verb.STOP: 1}


def test_what_takes_no_time_is_done_at_once() -> None:
    desk = ReconcilerHarness.build()
    progress = desk.reconcile(desk.add_create(*CREATE_STOPPED))
    assert progress.vm is not None
    assert (progress.operation.status, progress.vm.status) == ("succeeded", Status.STOPPED)


def test_what_is_over_is_left_alone() -> None:
    desk = ReconcilerHarness.build()
    operation = desk.add_create()
    over = desk.reconcile(operation).operation
    assert desk.reconcile(operation) == ReconcileResult(over)
    assert desk.backend.dispatched == {Verb.CREATE: 1}


# Answers that are lost


@pytest.mark.parametrize(
    ("verb", "times"), [(Verb.CREATE, 1), (Verb.STOP, 1), (Verb.UPDATE, 2), (Verb.DELETE, 2)]
)
def test_a_lost_answer_is_found_again(verb: Verb, times: int) -> None:
    desk = ReconcilerHarness.build()
    operation = order(desk, verb)
    method = verb.value if verb in (Verb.CREATE, Verb.UPDATE) else "perform"
    desk.backend.fail(method, errors.BackendTimeout("late"), done=True)
    with pytest.raises(errors.BackendTimeout) as caught:
        desk.reconcile(operation)
    assert caught.value.extra == {"operation_id": operation.id}
    step = desk.reload(operation).step
    assert step is not None
    assert step.state is StepState.DISPATCHING
    assert desk.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    # to change or delete twice does no more than once
    assert desk.backend.dispatched == {verb: times}


def test_a_create_that_never_arrived_is_given_up_and_not_sent_again() -> None:
    desk = ReconcilerHarness.build()
    operation = order(desk, Verb.CREATE)
    desk.backend.fail("create", errors.BackendTimeout("late"))
    with pytest.raises(errors.BackendTimeout):
        desk.reconcile(operation)
    desk.clock.sleep(LOST)
    assert desk.reconcile(operation).waiting_on_cloud
    desk.clock.sleep(0.001)
    progress = desk.reconcile(operation)
    check_failed(progress, "backend_timeout")
    assert progress.operation.error is not None
    assert progress.operation.error.detail == (
        "The create never reached the cloud; nothing was changed."
    )
    assert desk.backend.dispatched == {Verb.CREATE: 1}


def test_an_action_that_never_arrived_is_sent_again_once_nothing_is_on_its_way() -> None:
    desk = ReconcilerHarness.build()
    operation = order(desk, Verb.STOP)
    desk.backend.fail("perform", errors.BackendTimeout("late"))
    with pytest.raises(errors.BackendTimeout):
        desk.reconcile(operation)
    desk.clock.sleep(LOST_ACTION)
    assert desk.reconcile(operation).waiting_on_cloud
    assert desk.backend.dispatched == {Verb.STOP: 1}
    desk.clock.sleep(0.001)
    assert desk.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert desk.backend.dispatched == {Verb.STOP: 2}


def test_an_action_that_comes_through_late_is_the_one_that_is_credited() -> None:
    desk = ReconcilerHarness.build()
    operation = order(desk, Verb.STOP)
    desk.backend.fail("perform", errors.BackendTimeout("late"))
    with pytest.raises(errors.BackendTimeout):
        desk.reconcile(operation)
    desk.clock.sleep(LOST_ACTION + 0.001)
    late = []

    def arrives() -> None:
        # after the look, and before it is sent again
        if desk.backend.dispatched[Verb.STOP] == 2 and not late:
            late.append(
                MemoryBackend.perform_action(desk.backend, operation.vm_id or "", Verb.STOP)
            )

    desk.backend.before_call = arrives
    progress = desk.reconcile(operation)
    assert progress.operation.status is OperationStatus.SUCCEEDED
    assert progress.operation.steps[0].request_id == late[0].request_id


@pytest.mark.parametrize("verb", [Verb.UPDATE, Verb.DELETE])
def test_what_may_be_sent_again_is(verb: Verb) -> None:
    desk = ReconcilerHarness.build()
    operation = order(desk, verb)
    method = "update" if verb is Verb.UPDATE else "perform"
    desk.backend.fail(method, errors.BackendTimeout("late"))
    with pytest.raises(errors.BackendTimeout):
        desk.reconcile(operation)
    assert desk.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert desk.backend.dispatched == {verb: 2}


@pytest.mark.parametrize("verb", [Verb.UPDATE, Verb.DELETE])
def test_one_that_may_have_been_sent_is_not_failed_as_never_sent(verb: Verb) -> None:
    desk = ReconcilerHarness.build()
    operation = order(desk, verb)
    method = "update" if verb is Verb.UPDATE else "perform"
    desk.backend.fail(method, errors.BackendTimeout("late"), done=True)
    desk.backend.fail(method, errors.BackendUnavailable("away"))
    with pytest.raises(errors.BackendTimeout):
        desk.reconcile(operation)
    assert desk.reconcile(operation).waiting_on_cloud
    assert desk.reconcile(operation).operation.status is OperationStatus.SUCCEEDED


@pytest.mark.parametrize("error", AWAY)
def test_looking_for_a_lost_answer_goes_on_while_the_cloud_is_away(
    error: errors.VmapiError,
) -> None:
    desk = ReconcilerHarness.build()
    operation = desk.add_create()
    desk.backend.fail("create", errors.BackendTimeout("late"), done=True)
    with pytest.raises(errors.BackendTimeout):
        desk.reconcile(operation)
    desk.backend.fail("find", error)
    assert desk.reconcile(operation).waiting_on_cloud
    assert desk.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert desk.backend.dispatched == {Verb.CREATE: 1}


def test_the_vm_of_a_lost_answer_vanishes() -> None:
    desk = ReconcilerHarness.build()
    operation = order(desk, Verb.STOP)
    desk.backend.fail("perform", errors.BackendTimeout("late"))
    with pytest.raises(errors.BackendTimeout):
        desk.reconcile(operation)
    desk.backend.fail("find", errors.VMNotFound("gone"))
    check_failed(desk.reconcile(operation), "backend_lost")


# The cloud cannot be reached


@pytest.mark.parametrize("verb", [Verb.CREATE, Verb.STOP, Verb.UPDATE, Verb.DELETE])
def test_unavailable_at_the_first_step_is_the_end(verb: Verb) -> None:
    desk = ReconcilerHarness.build()
    operation = order(desk, verb)
    method = verb.value if verb in (Verb.CREATE, Verb.UPDATE) else "perform"
    away = errors.BackendUnavailable("away")
    desk.backend.fail(method, away)
    progress = desk.reconcile(operation)
    check_failed(progress, "backend_unavailable")
    assert progress.error is away
    assert not desk.operations.list_leased()


def test_unavailable_at_a_later_step_is_waited_for() -> None:
    desk = ReconcilerHarness.build()
    operation = desk.add_create(*CREATE_STOPPED)
    desk.backend.fail("perform", *[errors.BackendUnavailable("away")] * 2)
    for _ in range(2):
        progress = desk.reconcile(operation)
        assert progress.waiting_on_cloud
        assert progress.operation.step is not None
        assert progress.operation.step.state is StepState.PLANNED
    assert desk.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert desk.backend.dispatched == {Verb.CREATE: 1, Verb.STOP: 3}


@pytest.mark.parametrize("error", AWAY)
@pytest.mark.parametrize("method", ["get", "outcome"])
def test_looking_on_goes_on_while_the_cloud_is_away(method: str, error: errors.VmapiError) -> None:
    desk = ReconcilerHarness.build()
    operation = order(desk, Verb.STOP)
    desk.backend.fail(method, error)
    assert desk.reconcile(operation).waiting_on_cloud
    assert desk.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert desk.backend.dispatched == {Verb.STOP: 1}


# The cloud breaks


@pytest.mark.parametrize("verb", [Verb.CREATE, Verb.STOP, Verb.DELETE])
def test_a_broken_answer_to_what_was_done_is_looked_for_at_once(verb: Verb) -> None:
    desk = ReconcilerHarness.build("delete=1")
    operation = order(desk, verb)
    method = "create" if verb is Verb.CREATE else "perform"
    desk.backend.fail(method, errors.BackendError("broken"), done=True)
    progress = desk.reconcile(operation)
    assert progress.error is None
    desk.clock.sleep(1)
    assert desk.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert desk.backend.dispatched == {verb: 1}


@pytest.mark.parametrize("verb", [Verb.CREATE, Verb.STOP, Verb.UPDATE, Verb.DELETE])
def test_a_broken_answer_to_what_was_not_done_is_the_end(verb: Verb) -> None:
    desk = ReconcilerHarness.build()
    operation = order(desk, verb)
    method = verb.value if verb in (Verb.CREATE, Verb.UPDATE) else "perform"
    desk.backend.fail(method, errors.BackendError("broken"))
    check_failed(desk.reconcile(operation), "backend_error")
    assert desk.backend.dispatched == {verb: 1}


@pytest.mark.parametrize("error", AWAY)
@pytest.mark.parametrize("verb", [Verb.CREATE, Verb.STOP])
def test_a_broken_answer_that_cannot_be_looked_into_is_unknown(
    verb: Verb, error: errors.VmapiError
) -> None:
    desk = ReconcilerHarness.build()
    operation = order(desk, verb)
    method = "create" if verb is Verb.CREATE else "perform"
    desk.backend.fail(method, errors.BackendError("broken"), done=True)
    desk.backend.fail("find", error)
    with pytest.raises(errors.BackendTimeout) as caught:
        desk.reconcile(operation)
    assert caught.value.extra == {"operation_id": operation.id}
    assert desk.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert desk.backend.dispatched == {verb: 1}


@pytest.mark.parametrize(("verb", "status"), [(Verb.STOP, "failed"), (Verb.DELETE, "succeeded")])
def test_a_broken_answer_about_a_vm_that_is_gone(verb: Verb, status: str) -> None:
    desk = ReconcilerHarness.build()
    operation = order(desk, verb)
    desk.backend.fail("perform", errors.BackendError("broken"))
    desk.backend.fail("find", errors.VMNotFound("gone"))
    assert desk.reconcile(operation).operation.status == status


# The cloud refuses


@pytest.mark.parametrize("cls", [errors.InvalidState, errors.QuotaExceeded, errors.VMNotFound])
def test_a_refusal_is_the_end(cls: type[errors.VmapiError]) -> None:
    desk = ReconcilerHarness.build()
    operation = order(desk, Verb.STOP)
    refusal = cls("no", hint="why")
    desk.backend.fail("perform", refusal)
    progress = desk.reconcile(operation)
    check_failed(progress, cls.code)
    assert progress.error is refusal
    assert progress.operation.error is not None
    assert progress.operation.error.extra == {"hint": "why"}


def test_to_delete_what_is_gone_succeeds() -> None:
    desk = ReconcilerHarness.build()
    operation = order(desk, Verb.DELETE)
    desk.backend.fail("perform", errors.VMNotFound("gone"))
    assert desk.reconcile(operation).operation.status is OperationStatus.SUCCEEDED


def test_one_that_vanishes_between_two_steps_is_lost() -> None:
    desk = ReconcilerHarness.build()
    operation = desk.add_operation(Action.STOP, Verb.RESUME, Verb.STOP, vm_id=desk.paused_vm())
    desk.backend.fail("perform", None, errors.VMNotFound("gone"))
    check_failed(desk.reconcile(operation), "backend_lost")


# The cloud fails later


@pytest.mark.parametrize("fault", ["no_capacity", "build_failed"])
def test_a_build_that_fails(fault: str) -> None:
    desk = ReconcilerHarness.build()
    desk.backend.set_faults(f"{fault}=1")
    progress = desk.reconcile(desk.add_create(*CREATE_STOPPED))
    check_failed(progress, fault)
    assert progress.vm is not None
    assert progress.vm.fault is not None
    assert progress.operation.error is not None
    assert progress.operation.error.detail == progress.vm.fault.message
    assert progress.operation.error.extra == {"hint": progress.vm.fault.hint}
    assert desk.backend.dispatched == {Verb.CREATE: 1}


@pytest.mark.parametrize("action", [Action.STOP, Action.PAUSE])
def test_an_action_that_fails(action: Action) -> None:
    desk = ReconcilerHarness.build()
    vm_id = desk.running_vm()
    desk.backend.set_faults("action_failed=1")
    progress = desk.reconcile(desk.add_operation(action, vm_id=vm_id))
    check_failed(progress, "backend_error")
    assert desk.backend.get_vm(vm_id).status is Status.RUNNING


def test_a_step_that_fails_ends_the_plan() -> None:
    desk = ReconcilerHarness.build()
    vm_id = desk.paused_vm()
    desk.backend.set_faults("action_failed=1")
    check_failed(
        desk.reconcile(desk.add_operation(Action.STOP, Verb.RESUME, Verb.STOP, vm_id=vm_id)),
        "backend_error",
    )
    assert desk.backend.dispatched == {Verb.RESUME: 1}


@pytest.mark.parametrize(
    ("verb", "status"),
    [(Verb.CREATE, "failed"), (Verb.STOP, "failed"), (Verb.DELETE, "succeeded")],
)
def test_the_vm_vanishes_on_the_way(verb: Verb, status: str) -> None:
    desk = ReconcilerHarness.build("create=2,stop=2,delete=2")
    operation = order(desk, verb)
    assert desk.reconcile(operation).waiting_on_cloud
    desk.backend.fail("get", errors.VMNotFound("gone"))
    ended = desk.reconcile(operation).operation
    assert ended.status == status
    assert (ended.error and ended.error.code) == ("backend_lost" if status == "failed" else None)


def test_the_vm_ends_up_in_another_status() -> None:
    desk = ReconcilerHarness.build("stop=1,pause=1")
    vm_id = desk.running_vm()
    operation = desk.add_operation(Action.STOP, vm_id=vm_id)
    desk.reconcile(operation)
    desk.clock.sleep(1)
    desk.backend.get_vm(vm_id)
    desk.backend.perform_action(vm_id, Verb.START)
    progress = desk.reconcile(operation)
    check_failed(progress, "backend_error")
    assert progress.operation.error is not None
    assert progress.operation.error.detail == "After the stop the VM is RUNNING."


# Deadlines


@pytest.mark.parametrize("verb", [Verb.CREATE, Verb.STOP, Verb.DELETE])
def test_a_deadline_ends_the_operation_and_deletes_nothing(verb: Verb) -> None:
    desk = ReconcilerHarness.build("create=0,stop=3600,delete=3600")
    if verb is Verb.CREATE:
        desk = ReconcilerHarness.build("create=3600")
    operation = order(desk, verb)
    vm_id = desk.reconcile(operation).operation.vm_id
    assert vm_id is not None
    desk.clock.sleep(DEADLINES[verb])
    assert desk.reconcile(operation).waiting_on_cloud
    desk.clock.sleep(0.001)
    progress = desk.reconcile(operation)
    check_failed(progress, "operation_timeout")
    assert isinstance(progress.error, errors.OperationTimeout)
    assert progress.error.detail == (
        f"The {verb} did not end within {DEADLINES[verb]} seconds. The VM was left as it is."
    )
    assert desk.backend.dispatched == {verb: 1}
    assert desk.backend.get_vm(vm_id).id == vm_id


@pytest.mark.parametrize("verb", [Verb.CREATE, Verb.STOP])
def test_what_was_done_in_time_is_done_however_late_it_is_seen(verb: Verb) -> None:
    desk = (
        ReconcilerHarness.build("stop=1")
        if verb is Verb.STOP
        else ReconcilerHarness.build("create=1")
    )
    operation = order(desk, verb)
    assert desk.reconcile(operation).waiting_on_cloud
    desk.clock.sleep(2 * DEADLINES[verb])
    assert desk.reconcile(operation).operation.status is OperationStatus.SUCCEEDED


def test_what_was_never_sent_is_not_sent_after_the_deadline() -> None:
    desk = ReconcilerHarness.build()
    operation = order(desk, Verb.STOP)
    desk.clock.sleep(DEADLINES[Verb.STOP] + 1)
    check_failed(desk.reconcile(operation), "operation_timeout")
    assert not desk.backend.dispatched


@pytest.mark.parametrize("error", AWAY)
def test_a_cloud_that_is_away_at_the_deadline(error: errors.VmapiError) -> None:
    desk = ReconcilerHarness.build("stop=1")
    operation = order(desk, Verb.STOP)
    desk.reconcile(operation)
    desk.clock.sleep(DEADLINES[Verb.STOP] + 1)
    desk.backend.fail("get", error)
    check_failed(desk.reconcile(operation), "operation_timeout")


def test_the_vm_of_a_lost_create_is_deleted_before_it_is_found() -> None:
    desk = ReconcilerHarness.build()
    operation = desk.add_create(reserved_name="web-1")
    desk.backend.fail("create", errors.BackendTimeout("late"), done=True)
    with pytest.raises(errors.BackendTimeout):
        desk.reconcile_copy(operation)
    (vm,) = desk.backend.list_vms()
    desk.backend.perform_action(vm.id, Verb.DELETE)
    desk.clock.sleep(LOST + 1)
    ended = desk.reconcile(operation)
    check_failed(ended, "backend_lost")
    assert ended.error is not None
    assert (ended.error.detail, ended.error.extra) == (
        "The VM was made, and deleted since.",
        {"vm_id": vm.id},
    )


def test_the_deleted_vm_of_another_create_is_not_taken_for_it() -> None:
    desk = ReconcilerHarness.build()
    desk.backend.perform_action(desk.running_vm(), Verb.DELETE)
    desk.clock.sleep(10)
    operation = desk.add_create(reserved_name="web-1")
    desk.backend.fail("create", errors.BackendTimeout("late"))
    with pytest.raises(errors.BackendTimeout):
        desk.reconcile_copy(operation)
    desk.clock.sleep(LOST + 1)
    check_failed(desk.reconcile(operation), "backend_timeout")


# What was seen just now


def test_what_was_seen_saves_a_look() -> None:
    desk = ReconcilerHarness.build("stop=1")
    operation = order(desk, Verb.STOP)
    begun = desk.reconcile(operation).operation
    desk.clock.sleep(1)
    seen = desk.backend.get_vm(begun.vm_id or "")
    desk.backend.fail("get", errors.BackendError("asked all the same"))
    progress = desk.reconcile_copy(begun, seen)
    assert (progress.operation.status, progress.vm) == (OperationStatus.SUCCEEDED, seen)


def test_what_was_seen_counts_for_one_step_only() -> None:
    desk = ReconcilerHarness.build("create=1,stop=1")
    operation = desk.add_create(*CREATE_STOPPED)
    begun = desk.reconcile(operation).operation
    desk.clock.sleep(1)
    seen = desk.backend.get_vm(begun.vm_id or "")
    assert (seen.status, seen.task) == (Status.RUNNING, None)
    progress = desk.reconcile_copy(begun, seen)
    assert progress.waiting_on_cloud
    assert progress.vm is not None
    assert progress.vm.task is Task.STOPPING


# Several at once


def test_only_one_advances_an_operation_at_a_time() -> None:
    desk = ReconcilerHarness.build()
    operation = desk.add_create()
    desk.release(operation)
    with desk.operations.lease(operation.id) as mine:
        assert mine
        assert desk.reconcile(operation) == ReconcileResult(operation)
    assert not desk.backend.dispatched


def test_one_who_has_an_old_copy_learns_the_new_one() -> None:
    desk = ReconcilerHarness.build("create=1")
    old = desk.add_create()
    newer = desk.reconcile(old).operation
    assert desk.reconcile_copy(old) == ReconcileResult(newer)
    desk.clock.sleep(1)
    over = desk.reconcile(old).operation
    assert desk.reconcile_copy(newer) == ReconcileResult(over)
    assert desk.backend.dispatched == {Verb.CREATE: 1}


def test_one_that_a_delete_has_ended_stops_on_the_way() -> None:
    desk = ReconcilerHarness.build()
    vm_id = desk.paused_vm()
    operation = desk.add_operation(Action.STOP, Verb.RESUME, Verb.STOP, vm_id=vm_id)
    seen: list[Operation] = []

    def delete() -> None:
        if not seen:
            seen.append(desk.add_operation(Action.DELETE, vm_id=vm_id))

    desk.backend.before_call = delete
    ended = desk.reconcile(operation).operation
    assert ended.status is OperationStatus.SUPERSEDED
    assert ended.finished_at == desk.clock()
    assert desk.backend.dispatched == {Verb.RESUME: 1}


def test_threads_dispatch_a_restart_once() -> None:
    desk = ReconcilerHarness.build()
    operation = desk.add_operation(Action.RESTART, Verb.RESTART_SOFT, vm_id=desk.running_vm())
    desk.release(operation)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: desk.reconciler.reconcile(operation), range(64)))
    assert desk.reload(operation).status is OperationStatus.SUCCEEDED
    assert desk.backend.dispatched == {Verb.RESTART_SOFT: 1}


def test_threads_recover_a_lost_create_without_a_second_one() -> None:
    desk = ReconcilerHarness.build()
    operation = desk.add_create()
    desk.backend.fail("create", errors.BackendTimeout("late"), done=True)
    with pytest.raises(errors.BackendTimeout):
        desk.reconcile(operation)
    lost = desk.reload(operation)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: desk.reconciler.reconcile(lost), range(64)))
    assert desk.reload(operation).status is OperationStatus.SUCCEEDED
    assert desk.backend.dispatched == {Verb.CREATE: 1}
    assert len(desk.backend.list_vms()) == 1


def test_an_action_without_a_vm_is_a_defect() -> None:
    desk = ReconcilerHarness.build()
    check_failed(desk.reconcile(desk.add_operation(Action.STOP)), "internal_error")


def test_a_create_that_was_not_sent_dies_with_its_process() -> None:
    desk = ReconcilerHarness.build()
    progress = desk.reconcile(desk.add_create(spec=None))
    check_failed(progress, "backend_unavailable")
    assert progress.error is not None
    assert progress.error.detail == "vmapi died before this was sent; send it again."
    assert not desk.backend.dispatched


def test_outcomes_that_are_not_known_yet_are_waited_for() -> None:
    desk = ReconcilerHarness.build("stop=1")
    vm_id = desk.running_vm()
    operation = desk.add_operation(Action.STOP, vm_id=vm_id)
    progress = desk.reconcile(operation)
    assert progress.waiting_on_cloud
    assert progress.operation.step is not None
    assert progress.operation.step.request_id is not None
    receipt = desk.backend.find_action(vm_id, Verb.STOP, desk.clock())
    assert receipt is not None
    assert desk.backend.get_outcome(receipt) is ActionOutcome.PENDING
    assert progress.operation.step.request_id == receipt.request_id


def test_a_lost_restart_is_not_taken_for_the_one_before() -> None:
    desk = ReconcilerHarness.build()
    vm_id = desk.running_vm()
    first = desk.add_operation(Action.RESTART, Verb.RESTART_HARD, vm_id=vm_id)
    desk.reconcile(first)
    second = desk.add_operation(Action.RESTART, Verb.RESTART_HARD, vm_id=vm_id)
    desk.backend.fail("perform", errors.BackendTimeout("late"))
    with pytest.raises(errors.BackendTimeout):
        desk.reconcile(second)
    assert desk.reconcile(second).waiting_on_cloud
    desk.clock.sleep(LOST_ACTION + 1)
    assert desk.reconcile(second).operation.status is OperationStatus.SUCCEEDED
    assert desk.backend.dispatched[Verb.RESTART_HARD] == 3


def test_a_deadline_does_not_end_what_may_still_turn_up() -> None:
    desk = ReconcilerHarness.build()
    operation = desk.add_create(key=IdempotencyKey("me", "k", "f"))
    operation = replace(operation, created_at=desk.clock() - timedelta(days=1))
    desk.backend.fail("create", errors.BackendTimeout("late"))
    with pytest.raises(errors.BackendTimeout):
        desk.reconcile_copy(replace(operation, created_at=desk.clock()))
    overdue = replace(desk.reload(operation), created_at=operation.created_at)
    assert desk.reconcile_copy(overdue).waiting_on_cloud
    desk.clock.sleep(LOST + 1)
    desk.backend.fail("find", errors.BackendUnavailable("away"))
    progress = desk.reconcile_copy(overdue)
    check_failed(progress, "operation_timeout")
    # nobody can tell whether it made a VM: a repeat must not make another one
    assert progress.operation.key is not None


def test_a_key_is_free_again_once_the_create_is_known_to_have_made_nothing() -> None:
    desk = ReconcilerHarness.build()
    operation = desk.add_create(key=IdempotencyKey("me", "k", "f"))
    desk.backend.fail("create", errors.BackendTimeout("late"))
    with pytest.raises(errors.BackendTimeout):
        desk.reconcile_copy(operation)
    desk.clock.sleep(LOST + 1)
    progress = desk.reconcile(operation)
    check_failed(progress, "backend_timeout")
    assert progress.operation.key is None
