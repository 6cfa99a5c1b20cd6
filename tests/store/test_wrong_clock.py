"""Rows that a clock an hour ahead has written, after the clock was set back."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from tests.support.factories import VM_1
from tests.support.fake_clock import Clock
from tests.support.operation_factory import OperationFactory
from vmapi.domain.lifecycle import Status
from vmapi.domain.pagination import PageRequest
from vmapi.domain.vm import VM, VMQuery
from vmapi.store.clock import FUTURE_TIME_AGE_US
from vmapi.store.database import Database
from vmapi.store.inventory.repository import InventoryRepository
from vmapi.store.leader_leases import LeaderLeases
from vmapi.store.operations.repository import OperationRepository

RUNNING = replace(VM_1, id="vm")
STOPPED = replace(RUNNING, status=Status.STOPPED, backend_status="SHUTOFF")
DAY_SECONDS = FUTURE_TIME_AGE_US / 1_000_000
TIMES = {
    "operations": ("lease_expires_at",),
    "leader_leases": ("expires_at",),
    "sync_state": ("started_at",),
    "vms": ("observation_started_at", "observation_finished_at", "min_observed_at"),
}
STEPS = pytest.mark.parametrize("seconds", [60, 3600, 400 * 86_400])


def set_clock_back(database: Database, seconds: int) -> None:
    """Move the times of the database's clock ahead, as if the clock was set back since."""
    with database.write() as connection:
        for table, columns in TIMES.items():
            moved = ", ".join(f"{name} = {name} + {seconds * 1_000_000}" for name in columns)
            connection.execute(text(f"UPDATE {table} SET {moved}"))


@pytest.fixture
def inventory(database: Database) -> InventoryRepository:
    return InventoryRepository(database)


def observe(inventory: InventoryRepository, vm: VM) -> set[str]:
    return inventory.save_observations([vm], inventory.observation_time())


def status(inventory: InventoryRepository) -> Status:
    snapshot = inventory.get("vm")
    assert snapshot is not None
    return snapshot.vm.status


def ages(inventory: InventoryRepository) -> list[float | None]:
    """Return every age that readers get, in seconds."""
    snapshot = inventory.get("vm")
    listing = inventory.list_page(VMQuery(), PageRequest(), Clock()())
    _, name_age = inventory.find_by_name(VM_1.project or "", "free")
    assert snapshot is not None
    return [
        snapshot.age_seconds,
        listing.age_seconds,
        name_age,
        inventory.age_seconds(),
        inventory.seconds_since_full_sync(),
    ]


@STEPS
def test_operation_lease_of_a_wrong_clock_is_free(
    store: OperationRepository,
    other: OperationRepository,
    make: OperationFactory,
    database: Database,
    seconds: int,
) -> None:
    store.add(make("1"))
    store.release("1")
    assert other.list_leased() == []
    set_clock_back(database, seconds)
    assert [operation.id for operation in other.list_leased()] == ["1"]
    with other.lease("1") as acquired:
        assert acquired
    assert store.list_leased() == []


@STEPS
def test_leader_lease_of_a_wrong_clock_is_free(
    connect: Callable[[], Database], database: Database, seconds: int
) -> None:
    dead, living = LeaderLeases(database), LeaderLeases(connect())
    assert dead.acquire("sync")
    assert not living.acquire("sync")
    set_clock_back(database, seconds)
    assert living.acquire("sync")
    assert not dead.acquire("sync")


def test_small_step_of_the_clock_frees_no_lease(
    store: OperationRepository,
    other: OperationRepository,
    make: OperationFactory,
    database: Database,
) -> None:
    leader, follower = LeaderLeases(database), LeaderLeases(database)
    store.add(make("1"))
    leader.acquire("sync")
    with database.write() as connection:
        connection.execute(text("UPDATE leader_leases SET expires_at = expires_at + 900000"))
        connection.execute(
            text("UPDATE operations SET lease_expires_at = lease_expires_at + 900000")
        )
    assert other.list_leased() == []
    assert not follower.acquire("sync")


@STEPS
def test_age_of_a_wrong_clock_is_a_day(
    inventory: InventoryRepository, database: Database, seconds: int
) -> None:
    observe(inventory, RUNNING)
    started_at = inventory.observation_time()
    inventory.mark_changes_synced(started_at)
    inventory.mark_full_sync(started_at)
    set_clock_back(database, seconds)
    for age in ages(inventory):
        assert age == pytest.approx(DAY_SECONDS, abs=60)
    # the next sync is right again
    started_at = inventory.observation_time()
    inventory.mark_changes_synced(started_at)
    inventory.mark_full_sync(started_at)
    assert max(age or 0 for age in ages(inventory)) < 60


@STEPS
def test_observation_replaces_a_row_of_a_wrong_clock(
    inventory: InventoryRepository, database: Database, seconds: int
) -> None:
    observe(inventory, RUNNING)
    set_clock_back(database, seconds)
    started_at = inventory.observation_time()
    assert inventory.ids_not_observed_since(started_at) == ["vm"]
    assert inventory.save_observations([STOPPED], started_at) == {"vm"}
    assert status(inventory) is Status.STOPPED
    assert inventory.ids_not_observed_since(started_at) == []


@STEPS
def test_fence_of_a_wrong_clock_is_ignored(
    inventory: InventoryRepository, database: Database, seconds: int
) -> None:
    observe(inventory, RUNNING)
    fence = inventory.observation_time() + seconds * 1_000_000
    with database.write() as connection:
        connection.execute(text(f"UPDATE vms SET min_observed_at = {fence}"))
    assert observe(inventory, STOPPED) == {"vm"}
    assert status(inventory) is Status.STOPPED


def test_fence_of_the_present_holds(inventory: InventoryRepository, database: Database) -> None:
    observe(inventory, RUNNING)
    started_at = inventory.observation_time()
    with database.write() as connection:
        fence = f"UPDATE vms SET min_observed_at = {inventory.observation_time()}"
        connection.execute(text(fence))
    assert inventory.save_observations([STOPPED], started_at) == set()
    assert status(inventory) is Status.RUNNING


@STEPS
def test_deletion_replaces_a_row_of_a_wrong_clock(
    inventory: InventoryRepository, database: Database, clock: Clock, seconds: int
) -> None:
    observe(inventory, RUNNING)
    set_clock_back(database, seconds)
    inventory.mark_deleted("vm", clock() + timedelta(seconds=1), inventory.observation_time())
    assert inventory.get("vm") is None
