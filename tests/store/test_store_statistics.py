"""The counts of the database for metrics, on both databases."""

from collections.abc import Callable
from os import getpid
from socket import gethostname

import pytest
from sqlalchemy import text

from tests.support.factories import VM_1
from tests.support.operation_factory import OperationFactory
from vmapi.domain.lifecycle import Action
from vmapi.store.database import Database
from vmapi.store.inventory.repository import InventoryRepository
from vmapi.store.leader_leases import LEADER_LEASE_DURATION_US, LeaderLeases
from vmapi.store.operations.leases import LEASE_DURATION_US
from vmapi.store.operations.repository import OperationRepository
from vmapi.store.statistics import StoreStatistics


@pytest.fixture
def statistics(database: Database) -> StoreStatistics:
    return StoreStatistics(database)


def age_column(database: Database, table: str, column: str, microseconds: int) -> None:
    with database.write() as connection:
        connection.execute(text(f"UPDATE {table} SET {column} = {column} - {microseconds}"))


def test_empty_database_has_no_counts(statistics: StoreStatistics) -> None:
    counts = statistics.count()
    assert counts.unfinished == ()
    assert (counts.vms_by_status, counts.sync_ages, counts.is_job_leased) == ({}, {}, {})


def test_unfinished_operations_are_counted_with_their_leases_and_age(
    statistics: StoreStatistics,
    store: OperationRepository,
    make: OperationFactory,
    database: Database,
) -> None:
    finished = make("f", vm_id="vm-f")
    for operation in (finished, make("a", vm_id="vm-a"), make("b", vm_id="vm-b")):
        store.add(operation)
    store.save(make.finished(finished))
    (group,) = statistics.count().unfinished
    assert (group.action, group.status, group.count) == (Action.STOP, "pending", 2)
    assert group.free_leases == 0
    age_column(database, "operations", "lease_expires_at", 2 * LEASE_DURATION_US)
    age_column(database, "operations", "created_at", 60_000_000)
    (aged,) = statistics.count().unfinished
    assert aged.free_leases == 2
    assert aged.oldest_age_seconds - group.oldest_age_seconds >= 60


def test_vms_are_counted_by_status(statistics: StoreStatistics, database: Database) -> None:
    inventory = InventoryRepository(database)
    inventory.save_observations([VM_1], inventory.observation_time())
    assert statistics.count().vms_by_status == {VM_1.status: 1}


def test_age_of_the_changes_is_that_of_the_newest_sync(
    statistics: StoreStatistics, database: Database
) -> None:
    inventory = InventoryRepository(database)
    inventory.mark_changes_synced(inventory.observation_time())
    assert statistics.count().sync_ages == {}
    inventory.mark_full_sync(inventory.observation_time() - 30_000_000)
    ages = statistics.count().sync_ages
    assert ages["full"] >= 30 > ages["changes"]
    inventory.mark_full_sync(inventory.observation_time())
    age_column(database, "sync_state", "started_at", 0)
    assert statistics.count().sync_ages["full"] < 30


def test_duration_of_the_last_full_sync(statistics: StoreStatistics, database: Database) -> None:
    inventory = InventoryRepository(database)
    assert statistics.count().full_sync_seconds is None
    for seconds in (300, 100):
        inventory.mark_full_sync(inventory.observation_time() - seconds * 1_000_000)
        duration = statistics.count().full_sync_seconds
        assert duration is not None
        assert seconds <= duration < seconds + 60
    # a process of an earlier version saves no end
    with database.write() as connection:
        connection.execute(text("UPDATE sync_state SET finished_at = NULL"))
    assert statistics.count().full_sync_seconds is None


def test_job_without_a_living_leader_is_not_leased(
    statistics: StoreStatistics, connect: Callable[[], Database]
) -> None:
    database = connect()
    assert LeaderLeases(database).acquire("sync")
    assert statistics.count().is_job_leased == {"sync": True}
    assert statistics.count().leaders == {"sync": f"{gethostname()}, process {getpid()}"}
    age_column(database, "leader_leases", "expires_at", LEADER_LEASE_DURATION_US)
    assert statistics.count().is_job_leased == {"sync": False}
    assert statistics.count().leaders == {}
