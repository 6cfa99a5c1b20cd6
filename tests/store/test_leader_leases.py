"""Duties: one process has each, until it gives it up or is not heard of any more."""

from collections.abc import Callable

import pytest
from sqlalchemy import text

from tests.support.operation_factory import run_concurrently
from vmapi.errors import StoreUnavailable
from vmapi.store import schema
from vmapi.store.database import Database
from vmapi.store.leader_leases import LEADER_LEASE_DURATION_US, LeaderLeases


@pytest.fixture
def mine(connect: Callable[[], Database]) -> LeaderLeases:
    return LeaderLeases(connect())


@pytest.fixture
def other(connect: Callable[[], Database]) -> LeaderLeases:
    return LeaderLeases(connect())


def let_pass(database: Database, microseconds: int) -> None:
    """Let time go on for whoever has a duty, on the database's clock."""
    with database.write() as connection:
        connection.execute(
            text(f"UPDATE leader_leases SET expires_at = expires_at - {microseconds}")
        )


def test_one_has_it(mine: LeaderLeases, other: LeaderLeases) -> None:
    for _ in range(2):
        assert mine.acquire("audit")
        assert not other.acquire("audit")
    assert other.acquire("retention")
    assert not mine.acquire("retention")


def test_it_is_taken_over_after_the_term(
    mine: LeaderLeases, other: LeaderLeases, database: Database
) -> None:
    assert mine.acquire("audit")
    let_pass(database, LEADER_LEASE_DURATION_US - 5_000_000)
    assert not other.acquire("audit")
    let_pass(database, 5_000_000)
    assert other.acquire("audit")
    assert not mine.acquire("audit")


def test_who_holds_it_again_has_the_whole_term(
    mine: LeaderLeases, other: LeaderLeases, database: Database
) -> None:
    mine.acquire("audit")
    for _ in range(2):
        let_pass(database, LEADER_LEASE_DURATION_US - 5_000_000)
        assert mine.acquire("audit")
    assert not other.acquire("audit")


def test_what_two_do_is_kept_until_both_are_done(
    mine: LeaderLeases, other: LeaderLeases, database: Database
) -> None:
    mine.acquire("sync")
    with mine.renewing("sync"):
        with mine.renewing("sync"):
            pass
        let_pass(database, 2 * LEADER_LEASE_DURATION_US)
        mine.renew()
        assert not other.acquire("sync")
    let_pass(database, 2 * LEADER_LEASE_DURATION_US)
    mine.renew()
    assert other.acquire("sync")


def test_who_was_slow_has_it_still_when_nobody_took_it(
    mine: LeaderLeases, database: Database
) -> None:
    mine.acquire("audit")
    let_pass(database, 2 * LEADER_LEASE_DURATION_US)
    assert mine.acquire("audit")


def test_who_closes_gives_up_what_is_its_own(mine: LeaderLeases, other: LeaderLeases) -> None:
    mine.acquire("audit")
    other.acquire("retention")
    mine.close()
    assert other.acquire("audit")
    assert not mine.acquire("retention")


def test_who_had_none_closes_without_a_database() -> None:
    database = Database("postgresql+psycopg://nobody@127.0.0.1:1/nothing", 2, schema.ensure_current)
    duties = LeaderLeases(database)
    with pytest.raises(StoreUnavailable):
        duties.acquire("audit")
    duties.close()
    database.close()


def test_of_many_who_want_it_one_gets_it(
    connect: Callable[[], Database], database: Database
) -> None:
    wanting = [LeaderLeases(connect()) for _ in range(6)]
    for _ in range(3):
        assert run_concurrently(6, lambda number: wanting[number].acquire("audit")) == 1
        # then it is not new any more, but free
        let_pass(database, 2 * LEADER_LEASE_DURATION_US)
