"""Observations of a VM in any order: the newest one is stored."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.factories import T0
from tests.support.operation_factory import OperationFactory, run_concurrently
from tests.support.stored_vm import (
    LATER,
    RUNNING,
    STOPPED,
    VM_ID,
    as_accepted,
    get_snapshot,
    status_and_task,
)
from vmapi.domain.lifecycle import Action, Status, Task
from vmapi.domain.pagination import PageRequest
from vmapi.domain.vm import VMQuery
from vmapi.store.database import Database
from vmapi.store.inventory.repository import InventoryRepository
from vmapi.store.operations.repository import OperationRepository


@pytest.fixture
def inventory(database: Database) -> InventoryRepository:
    return InventoryRepository(database)


def test_later_started_observation_wins_over_cloud_times(
    inventory: InventoryRepository,
) -> None:
    inventory.save_observations([RUNNING], inventory.observation_time())
    older = replace(STOPPED, updated_at=T0 - 60 * LATER)
    assert inventory.save_observations([older], inventory.observation_time()) == {VM_ID}
    assert get_snapshot(inventory).vm == older


@pytest.mark.parametrize(("change", "applied"), [(-LATER, False), (LATER, True)])
def test_overlapping_observation_with_later_update_wins(
    inventory: InventoryRepository, change: timedelta, *, applied: bool
) -> None:
    started_at = inventory.observation_time()
    inventory.save_observations([RUNNING], inventory.observation_time() + 1)
    other = replace(STOPPED, updated_at=T0 + change)
    assert inventory.save_observations([other], started_at - 1) == ({VM_ID} if applied else set())
    assert get_snapshot(inventory).vm == (other if applied else RUNNING)


def test_overlapping_observation_without_a_task_wins_within_a_second(
    inventory: InventoryRepository,
) -> None:
    starting = replace(STOPPED, task=Task.STARTING)
    for first, second, applied in ((RUNNING, starting, set()), (starting, RUNNING, {VM_ID})):
        started_at = inventory.observation_time()
        inventory.save_observations([first], started_at)
        # it started later and shows the earlier state
        assert inventory.save_observations([second], started_at + 1) == applied
        assert get_snapshot(inventory).vm == RUNNING
        inventory.save_observations(
            [replace(STOPPED, updated_at=T0 - LATER)], inventory.observation_time()
        )


def test_observation_from_before_the_end_of_an_operation_is_ignored(
    inventory: InventoryRepository, store: OperationRepository, make: OperationFactory
) -> None:
    inventory.save_observations([STOPPED], inventory.observation_time())
    store.add(make("1", Action.START, VM_ID))
    store.save(as_accepted(store.get("1")))
    started_at = inventory.observation_time()
    inventory.save_observations([RUNNING], inventory.observation_time())
    store.save(make.finished(store.get("1")))
    late = replace(STOPPED, updated_at=T0 + LATER)
    assert inventory.save_observations([late], started_at) == set()
    assert status_and_task(inventory) == (Status.RUNNING, None)


def test_earlier_observation_does_not_revive_a_deleted_vm(
    inventory: InventoryRepository,
) -> None:
    inventory.save_observations([RUNNING], inventory.observation_time())
    started_at = inventory.observation_time() - 1
    inventory.mark_deleted(VM_ID, T0, inventory.observation_time())
    assert (
        inventory.save_observations([replace(RUNNING, updated_at=T0 + LATER)], started_at) == set()
    )
    assert inventory.get(VM_ID) is None
    # a later observation is newer: the cloud can restore a soft-deleted VM
    assert inventory.save_observations([RUNNING], inventory.observation_time()) == {VM_ID}
    assert get_snapshot(inventory).vm == RUNNING


def test_mark_deleted_wins_over_an_overlapping_observation(inventory: InventoryRepository) -> None:
    inventory.save_observations([RUNNING], inventory.observation_time())
    observed = inventory.observation_time()
    inventory.save_observations([RUNNING], observed)
    inventory.mark_deleted(VM_ID, T0, observed)
    assert inventory.get(VM_ID) is None
    inventory.mark_deleted("unknown", T0, inventory.observation_time())


def test_observation_from_before_an_accepted_step_is_ignored(
    inventory: InventoryRepository, store: OperationRepository, make: OperationFactory
) -> None:
    inventory.save_observations([STOPPED], inventory.observation_time())
    store.add(make("1", Action.START, VM_ID))
    started_at = inventory.observation_time() - 1
    store.save(as_accepted(store.get("1")))
    assert (
        inventory.save_observations([replace(STOPPED, updated_at=T0 + LATER)], started_at) == set()
    )
    assert inventory.save_observations([RUNNING], inventory.observation_time()) == {VM_ID}


def test_concurrent_observations_keep_the_newest(connect: Callable[[], Database]) -> None:
    inventories = [InventoryRepository(connect()) for _ in range(4)]
    ids = [f"{number:036}" for number in range(40)]

    def observe(number: int) -> bool:
        inventory = inventories[number]
        for round_number in range(5):
            order = ids[:: -1 if number % 2 else 1]
            observed_vms = [
                replace(
                    RUNNING, id=vm_id, updated_at=T0 + round_number * LATER, name=f"{round_number}"
                )
                for vm_id in order[: 10 * (round_number + 1)]
            ]
            inventory.save_observations(observed_vms, inventory.observation_time())
        return True

    assert run_concurrently(4, observe) == 4
    listing = inventories[0].list_page(VMQuery(), PageRequest(1, 100), T0)
    assert {vm.id: vm.name for vm in listing.vms} == dict.fromkeys(ids, "4")
