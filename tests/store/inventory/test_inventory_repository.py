"""Inventory tests: the newest observation wins, with the overlay applied."""

from dataclasses import replace

import pytest

from tests.support.factories import T0
from tests.support.operation_factory import OperationFactory
from tests.support.stored_vm import (
    LATER,
    RUNNING,
    STOPPED,
    VM_ID,
    as_accepted,
    get_snapshot,
    save_created,
    status_and_task,
)
from vmapi.domain.lifecycle import Action, Status, Task
from vmapi.domain.pagination import PageRequest
from vmapi.domain.vm import VM, Fault, VMQuery
from vmapi.errors import InternalError
from vmapi.store.database import Database
from vmapi.store.inventory.repository import InventoryRepository
from vmapi.store.operations.repository import OperationRepository


@pytest.fixture
def inventory(database: Database) -> InventoryRepository:
    return InventoryRepository(database)


@pytest.mark.parametrize(
    "vm",
    [
        RUNNING,
        STOPPED,
        replace(RUNNING, image=None, fault=Fault("backend_error", "\0 odd", "look")),
    ],
)
def test_saved_vm_equals_the_observed_one(inventory: InventoryRepository, vm: VM) -> None:
    assert inventory.save_observations([vm], inventory.observation_time()) == {VM_ID}
    snapshot = get_snapshot(inventory)
    assert (snapshot.vm, snapshot.revision) == (vm, 1)
    assert 0 <= snapshot.age_seconds < 60


def test_observation_may_repeat_a_vm(inventory: InventoryRepository) -> None:
    assert inventory.save_observations([RUNNING, STOPPED], inventory.observation_time()) == {VM_ID}
    assert get_snapshot(inventory).vm == STOPPED


def test_fields_stay_known_while_a_cell_is_down(inventory: InventoryRepository) -> None:
    inventory.save_observations([RUNNING], inventory.observation_time())
    fault = Fault("backend_error", "The cloud says UNKNOWN of this VM.", "Try again later.")
    observed = VM(VM_ID, VM_ID, "", None, Status.ERROR, T0, T0, "UNKNOWN", fault=fault)
    for _ in range(2):
        inventory.save_observations([observed], inventory.observation_time())
        expected = replace(RUNNING, status=Status.ERROR, backend_status="UNKNOWN", fault=fault)
        assert (get_snapshot(inventory).vm, get_snapshot(inventory).revision) == (expected, 2)
    inventory.save_observations([RUNNING], inventory.observation_time())
    assert get_snapshot(inventory).vm == RUNNING


def test_revision_changes_with_public_fields_only(
    inventory: InventoryRepository, store: OperationRepository, make: OperationFactory
) -> None:
    revisions = []
    for vm in (RUNNING, RUNNING, STOPPED, STOPPED):
        inventory.save_observations([vm], inventory.observation_time())
        revisions.append(get_snapshot(inventory).revision)
    store.add(make("1", Action.START, VM_ID))
    revisions.append(get_snapshot(inventory).revision)
    inventory.save_observations([STOPPED], inventory.observation_time())
    store.save(make.finished(store.get("1")))
    inventory.save_observations([STOPPED], inventory.observation_time())
    revisions.append(get_snapshot(inventory).revision)
    assert revisions == [1, 1, 2, 2, 3, 4]


def test_overlay_shows_the_task_of_an_operation(
    inventory: InventoryRepository, store: OperationRepository, make: OperationFactory
) -> None:
    inventory.save_observations([STOPPED], inventory.observation_time())
    store.add(make("1", Action.START, VM_ID))
    assert status_and_task(inventory) == (Status.STOPPED, Task.STARTING)
    inventory.save_observations([RUNNING], inventory.observation_time())
    assert status_and_task(inventory) == (Status.RUNNING, Task.STARTING)
    store.add(make("2", Action.DELETE, VM_ID))
    assert status_and_task(inventory) == (Status.RUNNING, Task.DELETING)
    store.save(make.finished(store.get("2")))
    assert status_and_task(inventory) == (Status.RUNNING, None)


def test_discarded_operation_shows_no_task(
    inventory: InventoryRepository, store: OperationRepository, make: OperationFactory
) -> None:
    inventory.save_observations([RUNNING], inventory.observation_time())
    rename = make("1", Action.UPDATE, VM_ID, "web-2")
    store.add(rename)
    assert status_and_task(inventory) == (Status.RUNNING, Task.UPDATING)
    store.discard(rename, InternalError(""))
    assert status_and_task(inventory) == (Status.RUNNING, None)


def test_vm_observed_before_its_create_is_accepted(
    inventory: InventoryRepository, store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1", Action.CREATE, None, "web-1"))
    inventory.save_observations([RUNNING], inventory.observation_time())
    assert status_and_task(inventory) == (Status.RUNNING, None)
    store.save(as_accepted(store.get("1")))
    assert status_and_task(inventory) == (Status.BUILDING, Task.CREATING)
    building = VMQuery(statuses=frozenset({Status.BUILDING}))
    assert inventory.list_page(building, PageRequest(), T0).page.total == 1


def test_expected_vm_is_listed_until_it_is_observed(
    inventory: InventoryRepository, store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1", Action.CREATE, None, "web-1"))
    started_at = inventory.observation_time()
    save_created(store, store.get("1"))
    assert status_and_task(inventory) == (Status.BUILDING, Task.CREATING)
    assert (
        inventory.save_observations([replace(RUNNING, updated_at=T0 + LATER)], started_at) == set()
    )
    assert inventory.save_observations([RUNNING], inventory.observation_time()) == {VM_ID}
    store.save(make.finished(store.get("1")))
    assert get_snapshot(inventory).vm == RUNNING


def test_created_at_stays_the_first_known_one(
    inventory: InventoryRepository, store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1", Action.CREATE, None, "web-1"))
    save_created(store, store.get("1"))
    inventory.save_observations(
        [replace(RUNNING, created_at=T0 - LATER)], inventory.observation_time()
    )
    assert get_snapshot(inventory).vm.created_at == T0
    older = VMQuery(created_before=T0)
    assert inventory.list_page(older, PageRequest(), T0).page.total == 0


def test_observation_inserts_a_new_vm_before_its_create_is_accepted(
    inventory: InventoryRepository, store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1", Action.CREATE, None, "web-1"))
    inventory.save_observations([RUNNING], inventory.observation_time())
    assert save_created(store, store.get("1")).revision == store.get("1").revision
    assert status_and_task(inventory) == (Status.BUILDING, Task.CREATING)
    assert get_snapshot(inventory).vm.addresses == RUNNING.addresses


def test_ids_not_observed_since_returns_the_missing_vms(inventory: InventoryRepository) -> None:
    inventory.save_observations(
        [replace(RUNNING, id=vm_id) for vm_id in "abc"], inventory.observation_time()
    )
    started_at = inventory.observation_time() + 1
    inventory.save_observations([replace(RUNNING, id="b")], started_at)
    inventory.mark_deleted("c", T0, started_at)
    assert inventory.ids_not_observed_since(started_at) == ["a"]


def test_age_counts_from_the_last_sync(inventory: InventoryRepository) -> None:
    all_vms = (VMQuery(), PageRequest(), T0)
    assert inventory.list_page(*all_vms).age_seconds is None
    inventory.save_observations([RUNNING], inventory.observation_time() - 900_000_000)
    assert 900 <= get_snapshot(inventory).age_seconds < 960
    inventory.mark_full_sync(inventory.observation_time() - 600_000_000)
    for age in (600, 200):
        assert age <= get_snapshot(inventory).age_seconds < age + 60
        listed = inventory.list_page(*all_vms).age_seconds
        assert listed is not None
        assert age <= listed < age + 60
        inventory.mark_changes_synced(inventory.observation_time() - 200_000_000)
