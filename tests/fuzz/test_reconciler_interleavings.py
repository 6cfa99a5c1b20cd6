"""However calls to advance interleave, and whatever answers are lost: one VM, and an end."""

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.reconciler_harness import ReconcilerHarness
from vmapi import errors
from vmapi.domain.lifecycle import Action, Status, Verb
from vmapi.domain.operation import Operation, OperationStatus

LATE = errors.BackendTimeout("late")
BROKEN = errors.BackendError("broken")
AWAY = errors.BackendUnavailable("away")

changes = st.sampled_from(
    [(None, False), (LATE, True), (LATE, False), (BROKEN, True), (AWAY, False)]
)
looks = st.sampled_from([None, LATE, BROKEN, AWAY])
events = st.lists(
    st.one_of(
        st.sampled_from(["advance", "stale", "delete"]), st.sampled_from([0.1, 1.0, 60.0, 200.0])
    ),
    max_size=12,
)


def script(
    desk: ReconcilerHarness,
    drawn_changes: list[tuple[errors.VmapiError | None, bool]],
    drawn_looks: list[errors.VmapiError | None],
) -> None:
    for error, done in drawn_changes:
        for method in ("create", "perform"):
            desk.backend.fail(method, error, done=done)
    for error in drawn_looks:
        for method in ("get", "outcome", "find"):
            desk.backend.fail(method, error)


def advance(desk: ReconcilerHarness, operation: Operation) -> None:
    with suppress(errors.BackendTimeout):
        desk.reconcile_copy(operation)


def play(desk: ReconcilerHarness, operation: Operation, drawn: list[str | float]) -> None:
    for event in drawn:
        vm_id = desk.reload(operation).vm_id
        if isinstance(event, float):
            desk.clock.sleep(event)
        elif event == "stale":
            advance(desk, operation)
        elif event == "advance":
            for found in desk.operations.list_leased():
                advance(desk, found)
        elif vm_id is not None and desk.operations.find_unfinished(vm_id):
            desk.add_operation(Action.DELETE, vm_id=vm_id)


def finish(desk: ReconcilerHarness) -> None:
    for _ in range(1000):
        for found in desk.operations.list_leased():
            advance(desk, found)
        if not desk.operations.list_leased():
            return
        desk.clock.sleep(5)
    raise AssertionError("it does not end")


@settings(max_examples=150)
@given(st.lists(changes, max_size=5), st.lists(looks, max_size=5), events, st.sampled_from("012"))
def test_a_create_makes_one_vm_and_ends(
    drawn_changes: list[tuple[errors.VmapiError | None, bool]],
    drawn_looks: list[errors.VmapiError | None],
    drawn: list[str | float],
    latency: str,
) -> None:
    desk = ReconcilerHarness.build(latency)
    operation = desk.add_create(Verb.CREATE, Verb.STOP)
    script(desk, drawn_changes, drawn_looks)
    play(desk, operation, drawn)
    finish(desk)
    ended, vms = desk.reload(operation), desk.backend.list_vms()
    assert desk.backend.dispatched[Verb.CREATE] <= 1
    assert len(vms) <= 1
    assert ended.finished_at is not None
    if ended.status is OperationStatus.SUCCEEDED and "delete" not in drawn:
        assert [(vm.id, vm.status) for vm in vms] == [(ended.vm_id, Status.STOPPED)]
    if ended.status is OperationStatus.FAILED:
        assert ended.error is not None


@settings(max_examples=150)
@given(st.lists(changes, max_size=5), st.lists(looks, max_size=5), events, st.sampled_from("012"))
def test_a_stop_of_a_paused_vm_takes_each_step_once_and_ends(
    drawn_changes: list[tuple[errors.VmapiError | None, bool]],
    drawn_looks: list[errors.VmapiError | None],
    drawn: list[str | float],
    latency: str,
) -> None:
    desk = ReconcilerHarness.build(latency)
    vm_id = paused(desk)
    operation = desk.add_operation(Action.STOP, Verb.RESUME, Verb.STOP, vm_id=vm_id)
    script(desk, drawn_changes, drawn_looks)
    play(desk, operation, [event for event in drawn if event != "delete"])
    finish(desk)
    (vm,) = desk.backend.list_vms()
    # however often it was sent, it was carried out once
    assert desk.backend.accepted[Verb.RESUME] <= 1
    assert desk.backend.accepted[Verb.STOP] <= 1
    if desk.reload(operation).status is OperationStatus.SUCCEEDED:
        assert vm.status is Status.STOPPED
    if desk.backend.dispatched[Verb.STOP]:
        assert vm.status in (Status.STOPPED, Status.RUNNING)


def paused(desk: ReconcilerHarness) -> str:
    vm_id = desk.running_vm()
    pause = desk.add_operation(Action.PAUSE, vm_id=vm_id)
    while not desk.reconcile(pause).operation.is_finished:
        desk.clock.sleep(1)
    desk.backend.dispatched.clear()
    desk.backend.accepted.clear()
    return vm_id
