"""Tests of VMs that are observed before their create has a response."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.support.factories import VM_1
from tests.support.fake_clock import Clock
from tests.support.operation_factory import (
    IDEMPOTENCY_KEY,
    OperationFactory,
    run_concurrently,
    succeeds,
)
from vmapi.domain.lifecycle import Action, Status, Task, Verb
from vmapi.domain.operation import Operation, OperationStatus, Step, StepState
from vmapi.errors import NameTaken, TaskInProgress
from vmapi.store.conflicts import OperationRevisionConflict
from vmapi.store.database import Database
from vmapi.store.inventory.repository import InventoryRepository
from vmapi.store.operations.repository import OperationRepository

CREATED_VM = replace(VM_1, id="vm", name="web", project="web", operation_id="op")
BUILDING = (Status.BUILDING, Task.CREATING)
RUNNING = (Status.RUNNING, None)
ROUNDS = 20


@pytest.fixture
def inventory(database: Database) -> InventoryRepository:
    return InventoryRepository(database)


@pytest.fixture
def create(store: OperationRepository, make: OperationFactory) -> Operation:
    """A dispatched create without a response."""
    store.add(make("op", Action.CREATE, None, "web", project="web", key=IDEMPOTENCY_KEY))
    return store.save(store.get("op").as_dispatching(make("2").created_at)).operation


def save_create_accepted(
    store: OperationRepository, create: Operation, vm_id: str = "vm"
) -> Operation:
    """Save that the cloud has accepted a create, with the VM to expect."""
    expected_vm = replace(CREATED_VM, id=vm_id, status=Status.BUILDING, task=Task.CREATING)
    accepted = create.with_step(Step(Verb.CREATE, StepState.ACCEPTED, "r"))
    return store.save(replace(accepted, vm_id=vm_id), expected_vm=expected_vm).operation


def observe(
    inventory: InventoryRepository, vm_id: str = "vm", **fields: object
) -> tuple[Status, Task | None]:
    vm = replace(CREATED_VM, id=vm_id, **fields)
    inventory.save_observations([vm], inventory.observation_time())
    return status_and_task(inventory, vm_id)


def status_and_task(
    inventory: InventoryRepository, vm_id: str = "vm"
) -> tuple[Status, Task | None]:
    snapshot = inventory.get(vm_id)
    assert snapshot is not None
    return snapshot.vm.status, snapshot.vm.task


@pytest.mark.usefixtures("create")
def test_tagged_vm_shows_the_task_of_its_create(inventory: InventoryRepository) -> None:
    assert observe(inventory) == BUILDING
    # a list without tags, while the cell is down, removes none
    assert observe(inventory, operation_id=None, flavor="") == BUILDING
    assert observe(inventory) == BUILDING


@pytest.mark.usefixtures("create")
@pytest.mark.parametrize("fields", [{"project": "db"}, {"project": None}, {"operation_id": "no"}])
def test_tag_of_another_project_shows_no_task(
    inventory: InventoryRepository,
    store: OperationRepository,
    make: OperationFactory,
    fields: dict[str, str | None],
) -> None:
    assert observe(inventory, **fields) == RUNNING
    store.add(make("1"))
    assert status_and_task(inventory) == (Status.RUNNING, Task.STOPPING)


@pytest.mark.parametrize("action", [Action.STOP, Action.PAUSE, Action.UPDATE])
def test_tagged_vm_refuses_other_operations(
    inventory: InventoryRepository,
    store: OperationRepository,
    make: OperationFactory,
    create: Operation,
    action: Action,
) -> None:
    observe(inventory)
    with pytest.raises(TaskInProgress, match="Another change of the VM is still in progress"):
        store.add(make("1", action))
    assert status_and_task(inventory) == BUILDING
    saved = save_create_accepted(store, create)
    with pytest.raises(TaskInProgress):
        store.add(make("1", action))
    store.save(make.finished(saved))
    store.add(make("1", action))
    assert status_and_task(inventory) == (Status.RUNNING, action.task)


def test_failed_create_leaves_the_observed_status(
    inventory: InventoryRepository,
    store: OperationRepository,
    make: OperationFactory,
    create: Operation,
) -> None:
    observe(inventory)
    observe(inventory, "second")
    store.save(make.finished(create, status=OperationStatus.FAILED))
    assert status_and_task(inventory) == status_and_task(inventory, "second") == RUNNING


def test_delete_supersedes_the_create_of_a_tagged_vm(
    inventory: InventoryRepository,
    store: OperationRepository,
    make: OperationFactory,
    create: Operation,
    clock: Clock,
) -> None:
    observe(inventory)
    store.add(make("other", Action.CREATE, None, "db", project="web"))
    clock.sleep(1)
    delete = make("1", Action.DELETE, project="web")
    store.add(delete)
    assert status_and_task(inventory) == (Status.RUNNING, Task.DELETING)
    superseded = store.get("op")
    assert (superseded.status, superseded.vm_id) == (OperationStatus.SUPERSEDED, "vm")
    assert (superseded.key, superseded.finished_at) == (IDEMPOTENCY_KEY, clock())
    assert {operation.id for operation in store.list_leased()} == {"other", "1"}
    # the response to the create arrives late
    with pytest.raises(OperationRevisionConflict):
        save_create_accepted(store, create)
    second_create = make("2", Action.CREATE, None, "web", project="web")
    with pytest.raises(NameTaken) as caught:
        store.add(second_create)
    assert caught.value.extra == {"vm_id": "vm"}
    store.save(make.finished(store.get("1")))
    store.add(second_create)


def test_accepted_create_conflicts_with_another_operation_of_its_vm(
    inventory: InventoryRepository,
    store: OperationRepository,
    make: OperationFactory,
    create: Operation,
    clock: Clock,
) -> None:
    observe(inventory, operation_id=None)
    # the clock is set back
    clock.sleep(-60)
    store.add(make("1"))
    with pytest.raises(OperationRevisionConflict):
        save_create_accepted(store, create)
    assert store.get("op") == create
    store.save(make.finished(store.get("1")))
    assert save_create_accepted(store, create).vm_id == "vm"
    assert status_and_task(inventory) == BUILDING


@pytest.mark.parametrize("action", [Action.STOP, Action.DELETE])
def test_accepted_create_races_with_a_new_operation(
    connect: Callable[[], Database], clock: Clock, make: OperationFactory, action: Action
) -> None:
    first, second = (OperationRepository(connect(), clock) for _ in range(2))
    inventory = InventoryRepository(connect())
    conflicts = (OperationRevisionConflict, TaskInProgress)
    for round in range(ROUNDS):
        vm_id, operation_id = f"vm-{round}", f"op-{round}"
        create = make(operation_id, Action.CREATE, None, operation_id, project="web")
        first.add(create)
        observe(inventory, vm_id, operation_id=operation_id)
        calls = [
            lambda create=create, vm_id=vm_id: save_create_accepted(first, create, vm_id),
            lambda round=round, vm_id=vm_id: second.add(make(f"{round}", action, vm_id)),
            lambda operation_id=operation_id, vm_id=vm_id: observe(
                inventory, vm_id, operation_id=operation_id
            ),
        ]
        run_concurrently(3, lambda index, calls=calls: succeeds(calls[index], *conflicts))
        if action is Action.DELETE:
            assert first.get(operation_id).status is OperationStatus.SUPERSEDED
            assert status_and_task(inventory, vm_id) == (Status.RUNNING, Task.DELETING)
        else:
            assert first.get(operation_id).vm_id == vm_id
            assert status_and_task(inventory, vm_id) == BUILDING
    first.close()
    second.close()
