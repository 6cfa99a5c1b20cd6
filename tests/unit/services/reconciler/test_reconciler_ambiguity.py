"""What does not prove anything, does not end an operation; and what was done is not done again."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.reconciler_harness import ReconcilerHarness, ScriptedBackend
from vmapi import errors
from vmapi.domain.caller import IdempotencyKey
from vmapi.domain.lifecycle import Action, Status, Verb
from vmapi.domain.operation import Operation, OperationStatus, StepState
from vmapi.domain.snapshot import VMSnapshot
from vmapi.domain.vm import VM, CreateSpec, Fault, VMPatch
from vmapi.settings.operations import parse_deadlines
from vmapi.store.operations.repository import OperationRepository

KEY = IdempotencyKey("me", "k", "f" * 64)
LATE = errors.BackendTimeout("late")
DENIED = errors.Forbidden("Policy does not allow it.")
HIDDEN = errors.VMNotFound("The cloud shows vmapi no VM of this id.", hidden=True)


@pytest.fixture
def hiccup(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the database be away just once: when it is to keep that the cloud has taken a step on."""
    save, left = OperationRepository.save_accepted, [1]

    def once_away(
        self: OperationRepository, operation: Operation, expected_vm: VM | None
    ) -> tuple[Operation, VMSnapshot | None]:
        if left and operation.steps[0].state in (StepState.ACCEPTED, StepState.DONE):
            left.pop()
            raise errors.StoreUnavailable("vmapi's database broke the connection off.")
        return save(self, operation, expected_vm)

    monkeypatch.setattr(OperationRepository, "save_accepted", once_away)


@pytest.mark.parametrize("verb", [Verb.CREATE, Verb.STOP, Verb.DELETE])
def test_what_was_sent_and_could_not_be_kept_goes_on(verb: Verb, hiccup: None) -> None:
    desk = ReconcilerHarness.build("delete=1")
    if verb is Verb.CREATE:
        operation = desk.add_create(reserved_name="web-1", key=KEY)
    else:
        vm_id = desk.backend.create_vm(spec(desk, "web-1"), "outside").vm_id
        operation = desk.add_operation(Action(verb), vm_id=vm_id, key=KEY)
        desk.backend.dispatched.clear()
    with pytest.raises(errors.StoreUnavailable) as caught:
        desk.reconcile(operation)
    assert caught.value.detail == (
        "vmapi's database broke the connection off. "
        f"The {operation.action} was sent to the cloud and continues."
    )
    assert caught.value.extra == {"operation_id": operation.id}
    assert desk.reload(operation).key == KEY
    finish(desk, operation)
    assert desk.reload(operation).status is OperationStatus.SUCCEEDED
    assert desk.backend.accepted[verb] + len(desk.backend.list_vms()) * (verb is Verb.CREATE) == 1


def test_an_update_whose_vm_cannot_be_kept_afterwards_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = ReconcilerHarness.build()
    operation = desk.add_operation(
        Action.UPDATE, vm_id=desk.running_vm(), patch=VMPatch(metadata={"a": "1"})
    )
    at, left = desk.observer.fetch, [1]

    def once_away(vm_id: str) -> VM:
        if left:
            left.pop()
            raise errors.StoreUnavailable("vmapi's database does not answer.")
        return at(vm_id)

    monkeypatch.setattr(desk.observer, "fetch", once_away)
    assert desk.reconcile(operation).operation.status is OperationStatus.SUCCEEDED


@pytest.mark.parametrize("error", [DENIED, HIDDEN, errors.ValidationFailed("no"), ValueError("x")])
@pytest.mark.parametrize("method", ["get", "outcome"])
def test_what_cannot_be_read_is_looked_at_until_the_deadline(
    method: str, error: errors.VmapiError
) -> None:
    desk = ReconcilerHarness.build("1")
    operation = desk.add_operation(Action.STOP, vm_id=slow(desk))
    desk.reconcile(operation)
    desk.clock.sleep(2)
    desk.backend.fail(method, error, error)
    progress = desk.reconcile(operation)
    assert (progress.waiting_on_cloud, progress.operation.status) == (True, OperationStatus.RUNNING)
    desk.clock.sleep(parse_deadlines("")[Action.STOP].total_seconds())
    assert desk.reconcile(operation).operation.error is not None
    assert desk.reload(operation).error == errored("operation_timeout", desk.reload(operation))


@pytest.mark.parametrize("action", [Action.STOP, Action.DELETE])
def test_a_vm_that_is_hidden_is_not_gone(action: Action) -> None:
    desk = ReconcilerHarness.build("delete=5")
    vm_id = slow(desk)
    operation = desk.add_operation(action, vm_id=vm_id)
    desk.backend.fail("perform", LATE, done=True)
    with pytest.raises(errors.BackendTimeout):
        desk.reconcile(operation)
    desk.backend.fail("get", HIDDEN, HIDDEN)
    desk.reconcile(operation)
    seen = desk.store.inventory.get(vm_id)
    assert seen is not None
    assert seen.vm.status is not Status.DELETED
    finish(desk, operation)
    assert desk.reload(operation).status is OperationStatus.SUCCEEDED


def test_a_vm_that_is_hidden_when_a_later_step_is_sent_is_waited_for() -> None:
    desk = ReconcilerHarness.build()
    operation = desk.add_create(Verb.CREATE, Verb.STOP)
    desk.backend.fail("perform", HIDDEN)
    progress = desk.reconcile(operation)
    assert (progress.waiting_on_cloud, progress.operation.status) == (True, OperationStatus.RUNNING)
    assert desk.reconcile(operation).operation.status is OperationStatus.SUCCEEDED


@pytest.mark.parametrize("error", [DENIED, HIDDEN, errors.StoreUnavailable("away")])
def test_a_broken_answer_of_which_the_record_is_closed_is_unknown(error: errors.VmapiError) -> None:
    desk = ReconcilerHarness.build()
    operation = desk.add_operation(Action.STOP, vm_id=desk.running_vm(), key=KEY)
    desk.backend.fail("perform", errors.BackendError("broken"), done=True)
    desk.backend.fail("find", error)
    with pytest.raises(errors.BackendTimeout) as caught:
        desk.reconcile(operation)
    assert caught.value.extra == {"operation_id": operation.id}
    assert desk.reconcile(operation).operation.status is OperationStatus.SUCCEEDED


def test_a_build_goes_on_while_its_cell_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = ReconcilerHarness.build("5")
    operation = desk.add_create(Verb.CREATE, Verb.STOP)
    desk.reconcile(operation)

    def unknown(backend: ScriptedBackend, vm_id: str) -> VM:
        fault = Fault("backend_error", "Of this VM the cloud says UNKNOWN.", "Look again later.")
        seen = get(backend, vm_id)
        return replace(seen, status=Status.ERROR, task=None, backend_status="UNKNOWN", fault=fault)

    get = ScriptedBackend.get_vm
    with monkeypatch.context() as patch:
        patch.setattr(ScriptedBackend, "get_vm", unknown)
        assert desk.reconcile(operation).waiting_on_cloud
    finish(desk, operation)
    vm_id = desk.reload(operation).vm_id
    assert desk.reload(operation).status is OperationStatus.SUCCEEDED
    assert desk.backend.get_vm(vm_id or "").status is Status.STOPPED


def test_a_create_whose_vm_was_made_and_deleted_keeps_its_key() -> None:
    desk = ReconcilerHarness.build()
    operation = desk.add_create(reserved_name="web-1", key=KEY)
    desk.backend.fail("create", LATE, done=True)
    with pytest.raises(errors.BackendTimeout):
        desk.reconcile(operation)
    desk.observer.full_sync()
    desk.backend.perform_action(desk.backend.list_vms()[0].id, Verb.DELETE)
    finish(desk, operation)
    assert desk.reload(operation).error == errored("backend_lost", desk.reload(operation))
    assert desk.reload(operation).key == KEY


def test_a_rename_that_lost_its_process_before_the_name_was_looked_for_is_not_sent() -> None:
    desk = ReconcilerHarness.build()
    vm_id = desk.running_vm()
    desk.backend.create_vm(spec(desk, "db-1"), "outside")
    changes = VMPatch(name="db-1")
    operation = desk.add_operation(
        Action.UPDATE, vm_id=vm_id, patch=changes, reserved_name="db-1", key=KEY
    )
    desk.release(operation)
    desk.reconcile(operation)
    assert desk.reload(operation).error == errored("backend_unavailable", desk.reload(operation))
    assert desk.reload(operation).key is None
    assert sorted(vm.name for vm in desk.backend.list_vms()) == ["db-1", "web-1"]


def test_who_was_asleep_before_sending_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = ReconcilerHarness.build()
    operation = desk.add_operation(Action.RESTART, Verb.RESTART_SOFT, vm_id=desk.running_vm())
    save, kept = OperationRepository.save_accepted, []

    def slow_save(
        self: OperationRepository, operation: Operation, expected_vm: VM | None
    ) -> tuple[Operation, VMSnapshot | None]:
        kept.append(operation.steps[0].state)
        if len(kept) == 1:
            # others look for it by now
            desk.clock.sleep(11)
        return save(self, operation, expected_vm)

    monkeypatch.setattr(OperationRepository, "save_accepted", slow_save)
    assert desk.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    begun = [StepState.DISPATCHING, StepState.PLANNED, StepState.DISPATCHING, StepState.ACCEPTED]
    assert kept[:4] == begun
    assert desk.backend.accepted == {Verb.RESTART_SOFT: 1}


@pytest.mark.parametrize("apart", [-50, 50])
def test_a_restart_is_found_by_the_clouds_clock(
    apart: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = ReconcilerHarness.build()
    operation = desk.add_operation(Action.RESTART, Verb.RESTART_SOFT, vm_id=desk.running_vm())
    monkeypatch.setattr(desk.backend, "cloud_time", lambda: desk.clock() + timedelta(seconds=apart))
    find, asked = desk.backend.find_action, []
    monkeypatch.setattr(desk.backend, "find_action", lambda *of: asked.append(of[2]) or find(*of))
    desk.backend.fail("perform", LATE)
    with pytest.raises(errors.BackendTimeout):
        desk.reconcile(operation)
    desk.reconcile(operation)
    assert asked == [operation.created_at + timedelta(seconds=apart)]


def slow(desk: ReconcilerHarness) -> str:
    """Make a RUNNING VM on a cloud that takes its time; return its id."""
    operation = desk.add_create()
    finish(desk, operation)
    desk.observer.full_sync()
    return desk.reload(operation).vm_id or ""


def spec(desk: ReconcilerHarness, name: str) -> CreateSpec:
    flavor, image = desk.backend.list_flavors()[0], desk.backend.list_images()[0]
    return CreateSpec(name, flavor.id, image.id, None, {}, None, None, ())


def finish(desk: ReconcilerHarness, operation: Operation) -> None:
    """Carry an operation on until it is over."""
    while not desk.reload(operation).is_finished:
        desk.clock.sleep(3)
        desk.reconcile(operation)


def errored(code: str, operation: Operation) -> object:
    """Return the failure of an operation if it has this code."""
    return operation.error if operation.error and operation.error.code == code else code
