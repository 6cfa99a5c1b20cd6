"""Creates with a VM that is listed before the response, or after the timeout."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.support.reconciler_harness import ReconcilerHarness
from vmapi import errors
from vmapi.backends.base import AcceptedAction
from vmapi.domain.access.caller import IdempotencyKey
from vmapi.domain.lifecycle import Action, Status, Task, Verb
from vmapi.domain.operation import CreateWindow, Operation, OperationStatus
from vmapi.domain.vm import VM
from vmapi.services.operations import preconditions
from vmapi.services.reconciler.recovery import CREATE_RECOVERY_WINDOW

KEY = IdempotencyKey("me", "k", "f" * 64)
DEADLINE = timedelta(seconds=1800)


def delay_create_response(
    harness: ReconcilerHarness,
    monkeypatch: pytest.MonkeyPatch,
    before_response: Callable[[str], object],
) -> None:
    """Call `before_response` with the id of a new VM before its create returns."""
    create_vm = harness.backend.create_vm

    def create(*args: Any, **kwargs: Any) -> AcceptedAction:
        receipt = create_vm(*args, **kwargs)
        harness.clock.sleep(3)
        before_response(receipt.vm_id)
        return receipt

    monkeypatch.setattr(harness.backend, "create_vm", create)


def get_listed_vm(harness: ReconcilerHarness, vm_id: str) -> VM:
    snapshot = harness.store.inventory.get(vm_id)
    assert snapshot is not None
    return snapshot.vm


def status_and_has_vm(operation: Operation) -> tuple[OperationStatus, bool]:
    return operation.status, operation.vm_id is not None


def test_vm_listed_before_the_create_response_is_shown_as_creating(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = ReconcilerHarness.build("1")
    listed_vms: list[VM] = []

    def check_creating(vm_id: str) -> None:
        harness.observer.full_sync()
        listed_vms.append(get_listed_vm(harness, vm_id))
        with pytest.raises(errors.TaskInProgress, match="is busy creating"):
            preconditions.plan_steps(listed_vms[-1], Action.STOP)
        with pytest.raises(errors.TaskInProgress):
            harness.add_operation(Action.STOP, vm_id=vm_id)

    delay_create_response(harness, monkeypatch, check_creating)
    create = harness.add_create()
    harness.reconcile(create)
    assert [(vm.status, vm.task, vm.allowed_actions) for vm in listed_vms] == [
        (Status.BUILDING, Task.CREATING, (Action.DELETE,))
    ]
    harness.clock.sleep(1)
    harness.reconcile(create)
    assert status_and_has_vm(harness.reload(create)) == (OperationStatus.SUCCEEDED, True)
    assert get_listed_vm(harness, listed_vms[0].id).status is Status.RUNNING


def test_delete_before_the_create_response_supersedes_the_create(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    harness = ReconcilerHarness.build("1")
    deletes: list[Operation] = []

    def insert_delete(vm_id: str) -> None:
        harness.observer.full_sync()
        deletes.append(harness.add_operation(Action.DELETE, vm_id=vm_id))

    delay_create_response(harness, monkeypatch, insert_delete)
    progress = harness.reconcile(harness.add_create(reserved_name="web-1"))
    assert status_and_has_vm(progress.operation) == (OperationStatus.SUPERSEDED, True)
    harness.reconcile(deletes[0])
    harness.clock.sleep(1)
    harness.reconcile(deletes[0])
    assert harness.reload(deletes[0]).status is OperationStatus.SUCCEEDED
    harness.add_create(reserved_name="web-1")


def test_create_waits_for_the_operation_that_its_vm_has(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = ReconcilerHarness.build("create=10,stop=1")
    stops: list[Operation] = []

    def insert_stop(vm_id: str) -> None:
        # the listed VM does not name its create yet
        observed_vm = replace(harness.backend.get_vm(vm_id), operation_id=None)
        harness.store.inventory.save_observations(
            [observed_vm], harness.store.inventory.observation_time()
        )
        stops.append(harness.add_operation(Action.STOP, vm_id=vm_id))

    delay_create_response(harness, monkeypatch, insert_stop)
    create = harness.add_create()
    harness.reconcile(create)
    assert status_and_has_vm(harness.reload(create)) == (OperationStatus.RUNNING, False)
    harness.reconcile(create)
    while not harness.reload(stops[0]).is_finished:
        harness.reconcile(stops[0])
        harness.clock.sleep(1)
    while not harness.reload(create).is_finished:
        harness.reconcile(create)
        harness.clock.sleep(1)
    assert harness.reload(create).vm_id == stops[0].vm_id


def test_vm_listed_after_its_create_timed_out_is_assigned_to_the_create() -> None:
    harness = ReconcilerHarness.build()
    create = harness.add_create(reserved_name="web-1", key=KEY)
    harness.backend.fail("create", errors.BackendTimeout("late"), done=True)
    with pytest.raises(errors.BackendTimeout):
        harness.reconcile(create)
    harness.clock.sleep(DEADLINE.total_seconds() + 1)
    harness.backend.fail("find", errors.BackendUnavailable("unavailable"))
    failed = harness.reconcile(create).operation
    assert failed.error is not None
    assert (failed.error.code, failed.vm_id) == ("operation_timeout", None)
    harness.observer.full_sync()
    window = CreateWindow(CREATE_RECOVERY_WINDOW)
    assert harness.store.inventory.list_duplicates(window) == []
    stored = harness.operations.find_by_key(KEY)
    (vm,) = harness.backend.list_vms()
    assert stored == replace(failed, vm_id=vm.id, is_recovered=True, revision=failed.revision + 1)


def test_create_with_a_missing_server_is_searched_again() -> None:
    harness = ReconcilerHarness.build()
    operation = harness.add_create()
    harness.backend.fail("create", errors.BackendTimeout("lost"), done=True)
    with pytest.raises(errors.BackendTimeout):
        harness.reconcile(operation)
    harness.backend.fail("find", errors.VMNotFound("gone"))
    assert harness.reconcile(operation).operation.status is OperationStatus.RUNNING
    assert harness.reconcile(operation).operation.vm_id is not None


def test_late_vm_of_a_repeated_create_is_stopped() -> None:
    harness = ReconcilerHarness.build()
    vm_id = harness.running_vm()
    create = harness.add_create(Verb.CREATE, Verb.STOP)
    new = replace(harness.not_started.pop(create.id), created_vm_id=vm_id)
    finished = harness.reconciler.dispatch_first(new).operation
    assert status_and_has_vm(finished) == (OperationStatus.SUCCEEDED, True)
    assert harness.backend.dispatched == {Verb.STOP: 1}
    assert get_listed_vm(harness, vm_id).status is Status.STOPPED
