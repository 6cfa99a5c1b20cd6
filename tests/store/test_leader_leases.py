"""Duties: one process has each, until it gives it up or is not heard of any more."""

from collections.abc import Callable

import pytest
from sqlalchemy import text

from tests.support.operation_factory import at_once
from vmapi.errors import StoreUnavailable
from vmapi.store import schema
from vmapi.store.database import Database
from vmapi.store.leader_leases import TERM, Duties


@pytest.fixture
def mine(connect: Callable[[], Database]) -> Duties:
    return Duties(connect())


@pytest.fixture
def other(connect: Callable[[], Database]) -> Duties:
    return Duties(connect())


def let_pass(database: Database, microseconds: int) -> None:
    """Let time go on for whoever has a duty, on the database's clock."""
    with database.write() as connection:
        connection.execute(text(f"UPDATE duties SET until = until - {microseconds}"))


def test_one_has_it(mine: Duties, other: Duties) -> None:
    for _ in range(2):
        assert mine.hold("audit")
        assert not other.hold("audit")
    assert other.hold("retention")
    assert not mine.hold("retention")


def test_it_is_taken_over_after_the_term(mine: Duties, other: Duties, database: Database) -> None:
    assert mine.hold("audit")
    let_pass(database, TERM - 5_000_000)
    assert not other.hold("audit")
    let_pass(database, 5_000_000)
    assert other.hold("audit")
    assert not mine.hold("audit")


def test_who_holds_it_again_has_the_whole_term(
    mine: Duties, other: Duties, database: Database
) -> None:
    mine.hold("audit")
    for _ in range(2):
        let_pass(database, TERM - 5_000_000)
        assert mine.hold("audit")
    assert not other.hold("audit")


def test_what_two_do_is_kept_until_both_are_done(
    mine: Duties, other: Duties, database: Database
) -> None:
    mine.hold("sync")
    with mine.kept("sync"):
        with mine.kept("sync"):
            pass
        let_pass(database, 2 * TERM)
        mine.renew()
        assert not other.hold("sync")
    let_pass(database, 2 * TERM)
    mine.renew()
    assert other.hold("sync")


def test_who_was_slow_has_it_still_when_nobody_took_it(mine: Duties, database: Database) -> None:
    mine.hold("audit")
    let_pass(database, 2 * TERM)
    assert mine.hold("audit")


def test_who_closes_gives_up_what_is_its_own(mine: Duties, other: Duties) -> None:
    mine.hold("audit")
    other.hold("retention")
    mine.close()
    assert other.hold("audit")
    assert not mine.hold("retention")


def test_who_had_none_closes_without_a_database() -> None:
    database = Database("postgresql+psycopg://nobody@127.0.0.1:1/nothing", 2, schema.prepare)
    duties = Duties(database)
    with pytest.raises(StoreUnavailable):
        duties.hold("audit")
    duties.close()
    database.close()


def test_of_many_who_want_it_one_gets_it(
    connect: Callable[[], Database], database: Database
) -> None:
    wanting = [Duties(connect()) for _ in range(6)]
    for _ in range(3):
        assert at_once(6, lambda number: wanting[number].hold("audit")) == 1
        # then it is not new any more, but free
        let_pass(database, 2 * TERM)
