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

MADE = replace(VM_1, id="vm", name="web", project="web", operation_id="op")
MAKING = (Status.BUILDING, Task.CREATING)
RUNNING = (Status.RUNNING, None)
ROUNDS = 20


@pytest.fixture
def inventory(database: Database) -> InventoryRepository:
    return InventoryRepository(database)


@pytest.fixture
def create(store: OperationRepository, make: OperationFactory) -> Operation:
    """A create that was sent, and is not answered."""
    store.add(make("op", Action.CREATE, None, "web", project="web", key=IDEMPOTENCY_KEY))
    return store.save(store.get("op").as_dispatching(make("2").created_at))


def save_answered(store: OperationRepository, create: Operation, vm_id: str = "vm") -> Operation:
    """Save that the cloud has accepted a create, with the VM to expect."""
    expected = replace(MADE, id=vm_id, status=Status.BUILDING, task=Task.CREATING)
    sent = create.with_step(Step(Verb.CREATE, StepState.ACCEPTED, "r"))
    return store.save_accepted(replace(sent, vm_id=vm_id), expected)[0]


def see(
    inventory: InventoryRepository, vm_id: str = "vm", **fields: object
) -> tuple[Status, Task | None]:
    seen = replace(MADE, id=vm_id, **fields)
    inventory.save_observations([seen], inventory.observation_time())
    return under(inventory, vm_id)


def under(inventory: InventoryRepository, vm_id: str = "vm") -> tuple[Status, Task | None]:
    found = inventory.get(vm_id)
    assert found is not None
    return found.vm.status, found.vm.task


@pytest.mark.usefixtures("create")
def test_tagged_vm_shows_the_task_of_its_create(inventory: InventoryRepository) -> None:
    assert see(inventory) == MAKING
    # a list without tags, while the cell is down, removes none
    assert see(inventory, operation_id=None, flavor="") == MAKING
    assert see(inventory) == MAKING


@pytest.mark.usefixtures("create")
@pytest.mark.parametrize("fields", [{"project": "db"}, {"project": None}, {"operation_id": "no"}])
def test_tag_of_another_project_shows_no_task(
    inventory: InventoryRepository,
    store: OperationRepository,
    make: OperationFactory,
    fields: dict[str, str | None],
) -> None:
    assert see(inventory, **fields) == RUNNING
    store.add(make("1"))
    assert under(inventory) == (Status.RUNNING, Task.STOPPING)


@pytest.mark.parametrize("action", [Action.STOP, Action.PAUSE, Action.UPDATE])
def test_tagged_vm_refuses_other_operations(
    inventory: InventoryRepository,
    store: OperationRepository,
    make: OperationFactory,
    create: Operation,
    action: Action,
) -> None:
    see(inventory)
    with pytest.raises(TaskInProgress, match="Another change of the VM is still in progress"):
        store.add(make("1", action))
    assert under(inventory) == MAKING
    saved = save_answered(store, create)
    with pytest.raises(TaskInProgress):
        store.add(make("1", action))
    store.save(make.finished(saved))
    store.add(make("1", action))
    assert under(inventory) == (Status.RUNNING, action.task)


def test_failed_create_leaves_the_observed_status(
    inventory: InventoryRepository,
    store: OperationRepository,
    make: OperationFactory,
    create: Operation,
) -> None:
    see(inventory)
    see(inventory, "second")
    store.save(make.finished(create, status=OperationStatus.FAILED))
    assert under(inventory) == under(inventory, "second") == RUNNING


def test_delete_supersedes_the_create_of_a_tagged_vm(
    inventory: InventoryRepository,
    store: OperationRepository,
    make: OperationFactory,
    create: Operation,
    clock: Clock,
) -> None:
    see(inventory)
    store.add(make("other", Action.CREATE, None, "db", project="web"))
    clock.sleep(1)
    delete = make("1", Action.DELETE, project="web")
    store.add(delete)
    assert under(inventory) == (Status.RUNNING, Task.DELETING)
    ended = store.get("op")
    assert (ended.status, ended.vm_id) == (OperationStatus.SUPERSEDED, "vm")
    assert (ended.key, ended.finished_at) == (IDEMPOTENCY_KEY, clock())
    assert {each.id for each in store.list_leased()} == {"other", "1"}
    # the answer comes now
    with pytest.raises(OperationRevisionConflict):
        save_answered(store, create)
    again = make("2", Action.CREATE, None, "web", project="web")
    with pytest.raises(NameTaken) as caught:
        store.add(again)
    assert caught.value.extra == {"vm_id": "vm"}
    store.save(make.finished(store.get("1")))
    store.add(again)


def test_accepted_create_conflicts_with_another_operation_of_its_vm(
    inventory: InventoryRepository,
    store: OperationRepository,
    make: OperationFactory,
    create: Operation,
    clock: Clock,
) -> None:
    see(inventory, operation_id=None)
    # by a clock that is slow
    clock.sleep(-60)
    store.add(make("1"))
    with pytest.raises(OperationRevisionConflict):
        save_answered(store, create)
    assert store.get("op") == create
    store.save(make.finished(store.get("1")))
    assert save_answered(store, create).vm_id == "vm"
    assert under(inventory) == MAKING


@pytest.mark.parametrize("action", [Action.STOP, Action.DELETE])
def test_accepted_create_races_with_a_new_operation(
    connect: Callable[[], Database], clock: Clock, make: OperationFactory, action: Action
) -> None:
    databases = [connect() for _ in range(3)]
    first, second = (OperationRepository(database, clock) for database in databases[:2])
    inventory = InventoryRepository(databases[2])
    for round in range(ROUNDS):
        vm_id, mark = f"vm-{round}", f"op-{round}"
        create = make(mark, Action.CREATE, None, mark, project="web")
        first.add(create)
        see(inventory, vm_id, operation_id=mark)
        calls = [
            lambda create=create, vm_id=vm_id: save_answered(first, create, vm_id),
            lambda round=round, vm_id=vm_id: second.add(make(f"{round}", action, vm_id)),
            lambda mark=mark, vm_id=vm_id: see(inventory, vm_id, operation_id=mark),
        ]
        run_concurrently(
            3,
            lambda at, calls=calls: succeeds(calls[at], OperationRevisionConflict, TaskInProgress),
        )
        if action is Action.DELETE:
            assert first.get(mark).status is OperationStatus.SUPERSEDED
            assert under(inventory, vm_id) == (Status.RUNNING, Task.DELETING)
        else:
            assert (first.get(mark).vm_id, under(inventory, vm_id)) == (vm_id, MAKING)
    first.close()
    second.close()
