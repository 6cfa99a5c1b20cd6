"""Creates whose VM is seen before they are answered, or after they have timed out."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.support.reconciler_harness import ReconcilerHarness
from vmapi import errors
from vmapi.backends.base import AcceptedAction
from vmapi.domain.caller import IdempotencyKey
from vmapi.domain.lifecycle import Action, Status, Task
from vmapi.domain.operation import Operation, OperationStatus
from vmapi.domain.vm import VM
from vmapi.services.operations import preconditions as guard

KEY = IdempotencyKey("me", "k", "f" * 64)
DEADLINE = timedelta(seconds=1800)


def answer_late(
    desk: ReconcilerHarness, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[str], object]
) -> None:
    """Have something happen to a new VM after it was made, before its create is answered."""
    real = desk.backend.create_vm

    def create(*given: Any, **more: Any) -> AcceptedAction:
        receipt = real(*given, **more)
        desk.clock.sleep(3)
        meanwhile(receipt.vm_id)
        return receipt

    monkeypatch.setattr(desk.backend, "create_vm", create)


def shown(desk: ReconcilerHarness, vm_id: str) -> VM:
    found = desk.store.inventory.get(vm_id)
    assert found is not None
    return found.vm


def outcome(operation: Operation) -> tuple[OperationStatus, bool]:
    return operation.status, operation.vm_id is not None


def test_it_is_being_made_until_it_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = ReconcilerHarness.build("1")
    told: list[VM] = []

    def look(vm_id: str) -> None:
        desk.observer.full_sync()
        told.append(shown(desk, vm_id))
        with pytest.raises(errors.TaskInProgress, match="is busy creating"):
            guard.plan_steps(told[-1], Action.STOP)
        with pytest.raises(errors.TaskInProgress):
            desk.add_operation(Action.STOP, vm_id=vm_id)

    answer_late(desk, monkeypatch, look)
    create = desk.add_create()
    desk.reconcile(create)
    assert [(vm.status, vm.task, vm.allowed_actions) for vm in told] == [
        (Status.BUILDING, Task.CREATING, (Action.DELETE,))
    ]
    desk.clock.sleep(1)
    desk.reconcile(create)
    assert outcome(desk.reload(create)) == (OperationStatus.SUCCEEDED, True)
    assert shown(desk, told[0].id).status is Status.RUNNING


def test_a_delete_before_the_answer_ends_the_create(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = ReconcilerHarness.build("1")
    deletes: list[Operation] = []

    def delete(vm_id: str) -> None:
        desk.observer.full_sync()
        deletes.append(desk.add_operation(Action.DELETE, vm_id=vm_id))

    answer_late(desk, monkeypatch, delete)
    progress = desk.reconcile(desk.add_create(reserved_name="web-1"))
    assert outcome(progress.operation) == (OperationStatus.SUPERSEDED, True)
    desk.reconcile(deletes[0])
    desk.clock.sleep(1)
    desk.reconcile(deletes[0])
    assert desk.reload(deletes[0]).status is OperationStatus.SUCCEEDED
    desk.add_create(reserved_name="web-1")


def test_one_that_something_has_begun_with_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = ReconcilerHarness.build("1")
    stops: list[Operation] = []

    def stop(vm_id: str) -> None:
        # nothing tells yet by which create it was made
        seen = replace(desk.backend.get_vm(vm_id), operation_id=None)
        desk.store.inventory.save_observations([seen], desk.store.inventory.observation_time())
        stops.append(desk.add_operation(Action.STOP, vm_id=vm_id))

    answer_late(desk, monkeypatch, stop)
    create = desk.add_create()
    desk.reconcile(create)
    assert outcome(desk.reload(create)) == (OperationStatus.RUNNING, False)
    desk.reconcile(create)
    while not desk.reload(stops[0]).is_finished:
        desk.reconcile(stops[0])
        desk.clock.sleep(1)
    while not desk.reload(create).is_finished:
        desk.reconcile(create)
        desk.clock.sleep(1)
    assert desk.reload(create).vm_id == stops[0].vm_id


def test_one_that_shows_after_its_create_has_timed_out_is_kept() -> None:
    desk = ReconcilerHarness.build()
    create = desk.add_create(reserved_name="web-1", key=KEY)
    desk.backend.fail("create", errors.BackendTimeout("late"), done=True)
    with pytest.raises(errors.BackendTimeout):
        desk.reconcile(create)
    desk.clock.sleep(DEADLINE.total_seconds() + 1)
    desk.backend.fail("find", errors.BackendUnavailable("away"))
    ended = desk.reconcile(create).operation
    assert ended.error is not None
    assert (ended.error.code, ended.vm_id) == ("operation_timeout", None)
    desk.observer.full_sync()
    assert desk.store.inventory.list_duplicates() == []
    kept = desk.operations.find_by_key(KEY)
    (vm,) = desk.backend.list_vms()
    assert kept == replace(ended, vm_id=vm.id, revision=ended.revision + 1)
