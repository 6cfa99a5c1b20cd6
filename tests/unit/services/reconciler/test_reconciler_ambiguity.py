"""Ambiguous responses: only proof finishes an operation, no call runs twice."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.support.reconciler_harness import ReconcilerHarness, ScriptedBackend
from vmapi import errors
from vmapi.domain.access.caller import IdempotencyKey
from vmapi.domain.lifecycle import Action, Status, Verb
from vmapi.domain.operation import Operation, OperationStatus, StepState
from vmapi.domain.vm import VM, CreateSpec, Fault, VMPatch
from vmapi.settings.operations import parse_deadlines
from vmapi.store.operations.repository import OperationRepository
from vmapi.store.operations.saving import SavedOperation

KEY = IdempotencyKey("me", "k", "f" * 64)
RESPONSE_LOST = errors.BackendTimeout("late")
FORBIDDEN = errors.Forbidden("Policy does not allow it.")
HIDDEN = errors.VMNotFound("The cloud shows vmapi no VM of this id.", hidden=True)


@pytest.fixture
def failing_accepted_save(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the database fail once, at the save of the first accepted step."""
    save, remaining_failures = OperationRepository.save, [1]

    def fail_once(
        self: OperationRepository, operation: Operation, *args: Any, **kwargs: Any
    ) -> SavedOperation:
        if remaining_failures and operation.steps[0].state in (StepState.ACCEPTED, StepState.DONE):
            remaining_failures.pop()
            raise errors.StoreUnavailable("vmapi's database broke the connection off.")
        return save(self, operation, *args, **kwargs)

    monkeypatch.setattr(OperationRepository, "save", fail_once)


@pytest.mark.parametrize("verb", [Verb.CREATE, Verb.STOP, Verb.DELETE])
def test_dispatched_step_continues_after_a_failed_save(
    verb: Verb, failing_accepted_save: None
) -> None:
    harness = ReconcilerHarness.build("delete=1")
    if verb is Verb.CREATE:
        operation = harness.add_create(reserved_name="web-1", key=KEY)
    else:
        vm_id = harness.backend.create_vm(spec(harness, "web-1"), "outside").vm_id
        operation = harness.add_operation(Action(verb), vm_id=vm_id, key=KEY)
        harness.backend.dispatched.clear()
    with pytest.raises(errors.StoreUnavailable) as caught:
        harness.reconcile(operation)
    assert caught.value.detail == (
        "vmapi's database broke the connection off. "
        f"The {operation.action} was sent to the cloud and continues."
    )
    assert caught.value.extra == {"operation_id": operation.id}
    assert harness.reload(operation).key == KEY
    finish(harness, operation)
    assert harness.reload(operation).status is OperationStatus.SUCCEEDED
    assert (
        harness.backend.accepted[verb] + len(harness.backend.list_vms()) * (verb is Verb.CREATE)
        == 1
    )


def test_update_succeeds_when_its_vm_cannot_be_saved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = ReconcilerHarness.build()
    operation = harness.add_operation(
        Action.UPDATE, vm_id=harness.running_vm(), patch=VMPatch(metadata={"a": "1"})
    )
    fetch, remaining_failures = harness.observer.fetch, [1]

    def fail_once(vm_id: str) -> VM:
        if remaining_failures:
            remaining_failures.pop()
            raise errors.StoreUnavailable("vmapi's database does not answer.")
        return fetch(vm_id)

    monkeypatch.setattr(harness.observer, "fetch", fail_once)
    assert harness.reconcile(operation).operation.status is OperationStatus.SUCCEEDED


@pytest.mark.parametrize(
    "error", [FORBIDDEN, HIDDEN, errors.ValidationFailed("no"), ValueError("x")]
)
@pytest.mark.parametrize("method", ["get", "outcome"])
def test_unreadable_vm_is_polled_until_the_deadline(method: str, error: errors.VmapiError) -> None:
    harness = ReconcilerHarness.build("1")
    operation = harness.add_operation(Action.STOP, vm_id=add_running_vm(harness))
    harness.reconcile(operation)
    harness.clock.sleep(2)
    harness.backend.fail(method, error, error)
    progress = harness.reconcile(operation)
    assert (progress.waiting_on_cloud, progress.operation.status) == (True, OperationStatus.RUNNING)
    harness.clock.sleep(parse_deadlines("")[Action.STOP].total_seconds())
    assert harness.reconcile(operation).operation.error is not None
    assert harness.reload(operation).error == error_with_code(
        "operation_timeout", harness.reload(operation)
    )


@pytest.mark.parametrize("action", [Action.STOP, Action.DELETE])
def test_hidden_vm_does_not_count_as_deleted(action: Action) -> None:
    harness = ReconcilerHarness.build("delete=5")
    vm_id = add_running_vm(harness)
    operation = harness.add_operation(action, vm_id=vm_id)
    harness.backend.fail("perform", RESPONSE_LOST, done=True)
    with pytest.raises(errors.BackendTimeout):
        harness.reconcile(operation)
    harness.backend.fail("get", HIDDEN, HIDDEN)
    harness.reconcile(operation)
    snapshot = harness.store.inventory.get(vm_id)
    assert snapshot is not None
    assert snapshot.vm.status is not Status.DELETED
    finish(harness, operation)
    assert harness.reload(operation).status is OperationStatus.SUCCEEDED


def test_later_step_of_a_hidden_vm_is_retried() -> None:
    harness = ReconcilerHarness.build()
    operation = harness.add_create(Verb.CREATE, Verb.STOP)
    harness.backend.fail("perform", HIDDEN)
    progress = harness.reconcile(operation)
    assert (progress.waiting_on_cloud, progress.operation.status) == (True, OperationStatus.RUNNING)
    assert harness.reconcile(operation).operation.status is OperationStatus.SUCCEEDED


@pytest.mark.parametrize("error", [FORBIDDEN, HIDDEN, errors.StoreUnavailable("unavailable")])
def test_broken_response_with_an_unreadable_record_has_an_unknown_outcome(
    error: errors.VmapiError,
) -> None:
    harness = ReconcilerHarness.build()
    operation = harness.add_operation(Action.STOP, vm_id=harness.running_vm(), key=KEY)
    harness.backend.fail("perform", errors.BackendError("broken"), done=True)
    harness.backend.fail("find", error)
    with pytest.raises(errors.BackendTimeout) as caught:
        harness.reconcile(operation)
    assert caught.value.extra == {"operation_id": operation.id}
    assert harness.reconcile(operation).operation.status is OperationStatus.SUCCEEDED


GONE = errors.VMNotFound("The cloud has no VM of this id.")


@pytest.mark.parametrize("error", [GONE, HIDDEN])
def test_create_that_is_answered_as_missing_is_a_failure_of_the_cloud(
    error: errors.VMNotFound,
) -> None:
    harness = ReconcilerHarness.build()
    operation = harness.add_create(reserved_name="web-1", key=KEY)
    harness.backend.fail("create", error)
    progress = harness.reconcile(operation)
    assert isinstance(progress.error, errors.BackendError)
    assert progress.error.detail == "The cloud answers a create as if its VM was missing."
    assert harness.reload(operation).status is OperationStatus.FAILED


@pytest.mark.parametrize("error", [GONE, errors.BackendError("broken")])
def test_create_with_a_search_that_finds_no_answer_has_an_unknown_outcome(
    error: errors.VmapiError,
) -> None:
    harness = ReconcilerHarness.build()
    operation = harness.add_create(reserved_name="web-1", key=KEY)
    harness.backend.fail("create", error, done=True)
    harness.backend.fail("find", GONE, GONE)
    with pytest.raises(errors.BackendTimeout, match="Whether the change took effect is unknown"):
        harness.reconcile(operation)
    assert harness.reconcile(operation).waiting_on_cloud
    assert harness.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert len(harness.backend.list_vms()) == 1


def test_build_continues_while_its_cell_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = ReconcilerHarness.build("5")
    operation = harness.add_create(Verb.CREATE, Verb.STOP)
    harness.reconcile(operation)

    def get_unknown_vm(backend: ScriptedBackend, vm_id: str) -> VM:
        fault = Fault("backend_error", "Of this VM the cloud says UNKNOWN.", "Try again later.")
        observed_vm = get(backend, vm_id)
        return replace(
            observed_vm, status=Status.ERROR, task=None, backend_status="UNKNOWN", fault=fault
        )

    get = ScriptedBackend.get_vm
    with monkeypatch.context() as patch:
        patch.setattr(ScriptedBackend, "get_vm", get_unknown_vm)
        assert harness.reconcile(operation).waiting_on_cloud
    finish(harness, operation)
    vm_id = harness.reload(operation).vm_id
    assert harness.reload(operation).status is OperationStatus.SUCCEEDED
    assert harness.backend.get_vm(vm_id or "").status is Status.STOPPED


def test_create_with_a_deleted_vm_keeps_its_idempotency_key() -> None:
    harness = ReconcilerHarness.build()
    operation = harness.add_create(reserved_name="web-1", key=KEY)
    harness.backend.fail("create", RESPONSE_LOST, done=True)
    with pytest.raises(errors.BackendTimeout):
        harness.reconcile(operation)
    harness.observer.full_sync()
    harness.backend.perform_action(harness.backend.list_vms()[0].id, Verb.DELETE)
    finish(harness, operation)
    assert harness.reload(operation).error == error_with_code(
        "backend_lost", harness.reload(operation)
    )
    assert harness.reload(operation).key == KEY


def test_rename_of_a_dead_process_is_not_dispatched_before_its_name_check() -> None:
    harness = ReconcilerHarness.build()
    vm_id = harness.running_vm()
    harness.backend.create_vm(spec(harness, "db-1"), "outside")
    changes = VMPatch(name="db-1")
    operation = harness.add_operation(
        Action.UPDATE, vm_id=vm_id, patch=changes, reserved_name="db-1", key=KEY
    )
    harness.release(operation)
    harness.reconcile(operation)
    assert harness.reload(operation).error == error_with_code(
        "backend_unavailable", harness.reload(operation)
    )
    assert harness.reload(operation).key is None
    assert sorted(vm.name for vm in harness.backend.list_vms()) == ["db-1", "web-1"]


def test_worker_delayed_before_the_dispatch_plans_the_step_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = ReconcilerHarness.build()
    operation = harness.add_operation(Action.RESTART, Verb.RESTART_SOFT, vm_id=harness.running_vm())
    save, saved_states = OperationRepository.save, []

    def slow_save(
        self: OperationRepository, operation: Operation, *args: Any, **kwargs: Any
    ) -> SavedOperation:
        saved_states.append(operation.steps[0].state)
        if len(saved_states) == 1:
            # other workers may recover the step from here on
            harness.clock.sleep(11)
        return save(self, operation, *args, **kwargs)

    monkeypatch.setattr(OperationRepository, "save", slow_save)
    assert harness.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert saved_states == [StepState.DISPATCHING, StepState.DISPATCHING, StepState.DONE]
    assert harness.backend.accepted == {Verb.RESTART_SOFT: 1}


@pytest.mark.parametrize("skew_seconds", [-50, 50])
def test_restart_is_recovered_by_the_clock_of_the_cloud(
    skew_seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = ReconcilerHarness.build()
    operation = harness.add_operation(Action.RESTART, Verb.RESTART_SOFT, vm_id=harness.running_vm())
    monkeypatch.setattr(
        harness.backend, "cloud_time", lambda: harness.clock() + timedelta(seconds=skew_seconds)
    )
    find, since_times = harness.backend.find_action, []
    monkeypatch.setattr(
        harness.backend, "find_action", lambda *args: since_times.append(args[2]) or find(*args)
    )
    harness.backend.fail("perform", RESPONSE_LOST)
    with pytest.raises(errors.BackendTimeout):
        harness.reconcile(operation)
    harness.reconcile(operation)
    assert since_times == [operation.created_at + timedelta(seconds=skew_seconds)]


def add_running_vm(harness: ReconcilerHarness) -> str:
    """Make a RUNNING VM on a cloud with latency; return its id."""
    operation = harness.add_create()
    finish(harness, operation)
    harness.observer.full_sync()
    return harness.reload(operation).vm_id or ""


def spec(harness: ReconcilerHarness, name: str) -> CreateSpec:
    flavor, image = harness.backend.list_flavors()[0], harness.backend.list_images()[0]
    return CreateSpec(name, flavor.id, image.id, None, {}, None, None, ())


def finish(harness: ReconcilerHarness, operation: Operation) -> None:
    """Reconcile an operation until it is finished."""
    while not harness.reload(operation).is_finished:
        harness.clock.sleep(3)
        harness.reconcile(operation)


def error_with_code(code: str, operation: Operation) -> object:
    """Return the error of an operation if it has this code, else the code."""
    return operation.error if operation.error and operation.error.code == code else code
