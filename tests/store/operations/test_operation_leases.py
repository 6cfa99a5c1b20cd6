"""Leases: who carries an operation on."""

from collections.abc import Callable
from threading import Barrier

import pytest
from sqlalchemy import text

from tests.support.fake_clock import Clock
from tests.support.operation_factory import OperationFactory, run_concurrently
from vmapi.store.database import Database
from vmapi.store.operations.repository import OperationRepository


def expire(database: Database) -> None:
    """Let every lease run out on the database's clock."""
    with database.write() as connection:
        connection.execute(
            text("UPDATE operations SET lease_expires_at = lease_expires_at - 10000001")
        )


def test_a_new_one_is_held_by_who_added_it(
    store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1"))
    with store.lease("1") as held:
        assert not held
    store.release("1")
    with store.lease("1") as held:
        assert held


def test_one_at_a_time_holds_it(store: OperationRepository, make: OperationFactory) -> None:
    for id in "12":
        store.add(make(id, vm_id=id))
        store.release(id)
    with store.lease("1") as first, store.lease("1") as second, store.lease("2") as other:
        assert (first, second, other) == (True, False, True)
    with store.lease("1") as again:
        assert again


def test_it_is_given_back_when_its_holder_fails(
    store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1"))
    store.release("1")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), store.lease("1"):
            raise ZeroDivisionError
    with store.lease("1") as again:
        assert again


def test_who_is_to_carry_it_on_may(store: OperationRepository, make: OperationFactory) -> None:
    store.add(make("1"))
    assert [found.id for found in store.list_leased()] == ["1"]
    store.release("1")
    for _ in range(2):
        assert [found.id for found in store.list_leased()] == ["1"]
        with store.lease("1") as held:
            assert held


def test_of_many_who_would_carry_it_on_one_does(
    store: OperationRepository, make: OperationFactory
) -> None:
    store.add(make("1"))
    store.release("1")
    everybody = Barrier(20)

    def hold(_: int) -> bool:
        with store.lease("1") as held:
            everybody.wait()
            return held

    assert run_concurrently(20, hold) == 1


def test_a_lease_is_its_process_own_until_it_has_run_out(
    store: OperationRepository,
    other: OperationRepository,
    make: OperationFactory,
    database: Database,
) -> None:
    store.add(make("1"))
    store.release("1")
    assert other.list_leased() == []
    with other.lease("1") as held:
        assert not held
    expire(database)
    assert [found.id for found in other.list_leased()] == ["1"]
    # who was only slow has it still
    assert [found.id for found in store.list_leased()] == ["1"]
    with other.lease("1") as held:
        assert held
        with store.lease("1") as late:
            assert not late
    assert store.list_leased() == []


def test_each_use_renews_a_lease(
    store: OperationRepository,
    other: OperationRepository,
    make: OperationFactory,
    database: Database,
) -> None:
    store.add(make("1"))
    store.release("1")
    expire(database)
    with store.lease("1") as held:
        assert held
    assert other.list_leased() == []


def test_who_closes_leaves_what_is_unfinished_to_others(
    connect: Callable[[], Database],
    clock: Clock,
    other: OperationRepository,
    make: OperationFactory,
) -> None:
    store = OperationRepository(connect(), clock)
    store.add(make("1"))
    store.release("1")
    store.close()
    assert [found.id for found in other.list_leased()] == ["1"]
    with other.lease("1") as held:
        assert held


def test_who_leaves_it_to_others_gives_each_lease_back(
    database: Database, clock: Clock, other: OperationRepository, make: OperationFactory
) -> None:
    store = OperationRepository(database, clock, renews_idle=False)
    store.add(make("1"))
    assert other.list_leased() == []
    with store.lease("1") as held:
        assert not held
    assert other.list_leased() == []
    store.release("1")
    with other.lease("1") as held:
        assert held
    assert [found.id for found in other.list_leased()] == ["1"]
    with store.lease("1") as held:
        assert not held
    store.close()
