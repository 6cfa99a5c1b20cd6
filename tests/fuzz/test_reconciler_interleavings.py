"""Interleaved reconciles and lost responses: one VM, and a finished operation."""

from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.reconciler_harness import ReconcilerHarness
from vmapi import errors
from vmapi.domain.lifecycle import Action, Status, Verb
from vmapi.domain.operation import Operation, OperationStatus

RESPONSE_LOST = errors.BackendTimeout("late")
BROKEN = errors.BackendError("broken")
UNAVAILABLE = errors.BackendUnavailable("unavailable")

change_results = st.sampled_from(
    [
        (None, False),
        (RESPONSE_LOST, True),
        (RESPONSE_LOST, False),
        (BROKEN, True),
        (UNAVAILABLE, False),
    ]
)
read_errors = st.sampled_from([None, RESPONSE_LOST, BROKEN, UNAVAILABLE])
events = st.lists(
    st.one_of(
        st.sampled_from(["reconcile", "stale", "delete"]), st.sampled_from([0.1, 1.0, 60.0, 200.0])
    ),
    max_size=12,
)


def script_backend(
    harness: ReconcilerHarness,
    drawn_change_results: list[tuple[errors.VmapiError | None, bool]],
    drawn_read_errors: list[errors.VmapiError | None],
) -> None:
    for error, done in drawn_change_results:
        for method in ("create", "perform"):
            harness.backend.fail(method, error, done=done)
    for error in drawn_read_errors:
        for method in ("get", "outcome", "find"):
            harness.backend.fail(method, error)


def reconcile_copy(harness: ReconcilerHarness, operation: Operation) -> None:
    with suppress(errors.BackendTimeout):
        harness.reconcile_copy(operation)


def run_events(
    harness: ReconcilerHarness, operation: Operation, drawn_events: list[str | float]
) -> None:
    for event in drawn_events:
        vm_id = harness.reload(operation).vm_id
        if isinstance(event, float):
            harness.clock.sleep(event)
        elif event == "stale":
            reconcile_copy(harness, operation)
        elif event == "reconcile":
            for leased in harness.operations.list_leased():
                reconcile_copy(harness, leased)
        elif vm_id is not None and harness.operations.find_unfinished(vm_id):
            harness.add_operation(Action.DELETE, vm_id=vm_id)


def finish(harness: ReconcilerHarness) -> None:
    for _ in range(1000):
        for leased in harness.operations.list_leased():
            reconcile_copy(harness, leased)
        if not harness.operations.list_leased():
            return
        harness.clock.sleep(5)
    raise AssertionError("the operation does not finish")


@settings(max_examples=150)
@given(
    st.lists(change_results, max_size=5),
    st.lists(read_errors, max_size=5),
    events,
    st.sampled_from("012"),
)
def test_create_makes_at_most_one_vm_and_finishes(
    drawn_change_results: list[tuple[errors.VmapiError | None, bool]],
    drawn_read_errors: list[errors.VmapiError | None],
    drawn_events: list[str | float],
    latency: str,
) -> None:
    harness = ReconcilerHarness.build(latency)
    operation = harness.add_create(Verb.CREATE, Verb.STOP)
    script_backend(harness, drawn_change_results, drawn_read_errors)
    run_events(harness, operation, drawn_events)
    finish(harness)
    finished, vms = harness.reload(operation), harness.backend.list_vms()
    assert harness.backend.dispatched[Verb.CREATE] <= 1
    assert len(vms) <= 1
    assert finished.finished_at is not None
    if finished.status is OperationStatus.SUCCEEDED and "delete" not in drawn_events:
        assert [(vm.id, vm.status) for vm in vms] == [(finished.vm_id, Status.STOPPED)]
    if finished.status is OperationStatus.FAILED:
        assert finished.error is not None


@settings(max_examples=150)
@given(
    st.lists(change_results, max_size=5),
    st.lists(read_errors, max_size=5),
    events,
    st.sampled_from("012"),
)
def test_stop_of_a_paused_vm_runs_each_step_once_and_finishes(
    drawn_change_results: list[tuple[errors.VmapiError | None, bool]],
    drawn_read_errors: list[errors.VmapiError | None],
    drawn_events: list[str | float],
    latency: str,
) -> None:
    harness = ReconcilerHarness.build(latency)
    vm_id = add_paused_vm(harness)
    operation = harness.add_operation(Action.STOP, Verb.RESUME, Verb.STOP, vm_id=vm_id)
    script_backend(harness, drawn_change_results, drawn_read_errors)
    run_events(harness, operation, [event for event in drawn_events if event != "delete"])
    finish(harness)
    (vm,) = harness.backend.list_vms()
    # repeated dispatches have one effect
    assert harness.backend.accepted[Verb.RESUME] <= 1
    assert harness.backend.accepted[Verb.STOP] <= 1
    if harness.reload(operation).status is OperationStatus.SUCCEEDED:
        assert vm.status is Status.STOPPED
    if harness.backend.dispatched[Verb.STOP]:
        assert vm.status in (Status.STOPPED, Status.RUNNING)


def add_paused_vm(harness: ReconcilerHarness) -> str:
    vm_id = harness.running_vm()
    pause = harness.add_operation(Action.PAUSE, vm_id=vm_id)
    while not harness.reconcile(pause).operation.is_finished:
        harness.clock.sleep(1)
    harness.backend.dispatched.clear()
    harness.backend.accepted.clear()
    return vm_id
