"""Operation lease tests: one thread of one process holds a lease."""

from collections.abc import Callable
from threading import Barrier

import pytest
from sqlalchemy import text

from bench.statements import recording
from tests.support.fake_clock import Clock
from tests.support.operation_factory import OperationFactory, run_concurrently
from vmapi.store.database import Database
from vmapi.store.operations.repository import OperationRepository


def expire_leases(database: Database) -> None:
    """Expire every lease on the database's clock."""
    with database.write() as connection:
        connection.execute(
            text("UPDATE operations SET lease_expires_at = lease_expires_at - 10000001")
        )


def test_add_holds_the_lease(store: OperationRepository, make: OperationFactory) -> None:
    store.add(make("1"))
    with store.lease("1") as acquired:
        assert not acquired
    store.release("1")
    with store.lease("1") as acquired:
        assert acquired


def test_lease_has_one_holder_at_a_time(store: OperationRepository, make: OperationFactory) -> None:
    for id in "12":
        store.add(make(id, vm_id=id))
        store.release(id)
    with store.lease("1") as first, store.lease("1") as second, store.lease("2") as other:
        assert (first, second, other) == (True, False, True)
    with store.lease("1") as acquired:
        assert acquired


def test_lease_is_released_when_its_holder_fails(
    store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1"))
    store.release("1")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), store.lease("1"):
            raise ZeroDivisionError
    with store.lease("1") as acquired:
        assert acquired


def test_process_of_the_operation_can_acquire_its_lease(
    store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1"))
    assert [operation.id for operation in store.list_leased()] == ["1"]
    store.release("1")
    for _ in range(2):
        assert [operation.id for operation in store.list_leased()] == ["1"]
        with store.lease("1") as acquired:
            assert acquired


def count_writes(store: OperationRepository, operation_id: str) -> int:
    """Return the number of writing transactions of an acquired lease."""
    with recording() as recorded, store.lease(operation_id) as acquired:
        assert acquired
    return recorded.counts.writes


def test_lease_of_this_process_needs_no_write(
    store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1"))
    store.release("1")
    assert count_writes(store, "1") == 1
    store.list_leased()
    assert count_writes(store, "1") == 0


@pytest.mark.parametrize("moved_us", [-5_000_000, 3_600_000_000])
def test_lease_that_ends_soon_or_too_late_is_acquired_again(
    store: OperationRepository, make: OperationFactory, database: Database, moved_us: int
) -> None:
    store.add(make("1"))
    store.release("1")
    with database.write() as connection:
        moved = f"UPDATE operations SET lease_expires_at = lease_expires_at + {moved_us}"
        connection.execute(text(moved))
    store.list_leased()
    assert count_writes(store, "1") == 1


def test_expired_lease_of_another_process_is_acquired(
    store: OperationRepository,
    other: OperationRepository,
    make: OperationFactory,
    database: Database,
) -> None:
    store.add(make("1"))
    store.release("1")
    store.list_leased()
    expire_leases(database)
    assert [operation.id for operation in other.list_leased()] == ["1"]
    assert count_writes(other, "1") == 1


def test_concurrent_acquires_have_one_winner(
    store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1"))
    store.release("1")
    barrier = Barrier(20)

    def acquire(_: int) -> bool:
        with store.lease("1") as acquired:
            barrier.wait()
            return acquired

    assert run_concurrently(20, acquire) == 1


def test_lease_stays_with_its_process_until_it_expires(
    store: OperationRepository,
    other: OperationRepository,
    make: OperationFactory,
    database: Database,
) -> None:
    store.add(make("1"))
    store.release("1")
    assert other.list_leased() == []
    with other.lease("1") as acquired:
        assert not acquired
    expire_leases(database)
    assert [operation.id for operation in other.list_leased()] == ["1"]
    # a slow process still lists it
    assert [operation.id for operation in store.list_leased()] == ["1"]
    with other.lease("1") as acquired:
        assert acquired
        with store.lease("1") as acquired_again:
            assert not acquired_again
    assert store.list_leased() == []


def test_each_acquire_renews_the_lease(
    store: OperationRepository,
    other: OperationRepository,
    make: OperationFactory,
    database: Database,
) -> None:
    store.add(make("1"))
    store.release("1")
    expire_leases(database)
    with store.lease("1") as acquired:
        assert acquired
    assert other.list_leased() == []


def test_close_releases_the_leases(
    connect: Callable[[], Database],
    clock: Clock,
    other: OperationRepository,
    make: OperationFactory,
) -> None:
    store = OperationRepository(connect(), clock)
    store.add(make("1"))
    store.release("1")
    store.close()
    assert [operation.id for operation in other.list_leased()] == ["1"]
    with other.lease("1") as acquired:
        assert acquired


def test_process_without_an_engine_releases_each_lease(
    database: Database, clock: Clock, other: OperationRepository, make: OperationFactory
) -> None:
    store = OperationRepository(database, clock, renews_idle=False)
    store.add(make("1"))
    assert other.list_leased() == []
    with store.lease("1") as acquired:
        assert not acquired
    assert other.list_leased() == []
    store.release("1")
    with other.lease("1") as acquired:
        assert acquired
    assert [operation.id for operation in other.list_leased()] == ["1"]
    with store.lease("1") as acquired:
        assert not acquired
    store.close()
