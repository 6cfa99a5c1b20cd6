"""Leader lease tests: one process owns a job until it closes or dies."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from tests.support.no_free_thread import refusing_threads
from tests.support.operation_factory import run_concurrently
from vmapi.errors import StoreUnavailable
from vmapi.store import schema
from vmapi.store.database import Database
from vmapi.store.leader_leases import LEADER_LEASE_DURATION_US, LeaderLeases


@pytest.fixture
def leases(connect: Callable[[], Database]) -> Iterator[LeaderLeases]:
    leases = LeaderLeases(connect())
    yield leases
    leases.close()


@pytest.fixture
def other(connect: Callable[[], Database]) -> LeaderLeases:
    return LeaderLeases(connect())


def age_leases(database: Database, microseconds: int) -> None:
    """Let leases age as if time had passed on the database's clock."""
    with database.write() as connection:
        connection.execute(
            text(f"UPDATE leader_leases SET expires_at = expires_at - {microseconds}")
        )


def test_lease_has_one_owner(leases: LeaderLeases, other: LeaderLeases) -> None:
    for _ in range(2):
        assert leases.acquire("audit")
        assert not other.acquire("audit")
    assert other.acquire("retention")
    assert not leases.acquire("retention")


def test_expired_lease_is_taken_over(
    leases: LeaderLeases, other: LeaderLeases, database: Database
) -> None:
    assert leases.acquire("audit")
    age_leases(database, LEADER_LEASE_DURATION_US - 5_000_000)
    assert not other.acquire("audit")
    age_leases(database, 5_000_000)
    assert other.acquire("audit")
    assert not leases.acquire("audit")


def test_acquire_renews_the_whole_duration(
    leases: LeaderLeases, other: LeaderLeases, database: Database
) -> None:
    leases.acquire("audit")
    for _ in range(2):
        age_leases(database, LEADER_LEASE_DURATION_US - 5_000_000)
        assert leases.acquire("audit")
    assert not other.acquire("audit")


def test_lease_is_renewed_until_the_last_thread_is_done(
    leases: LeaderLeases, other: LeaderLeases, database: Database
) -> None:
    leases.acquire("sync")
    with leases.renewing("sync"):
        with leases.renewing("sync"):
            pass
        age_leases(database, 2 * LEADER_LEASE_DURATION_US)
        leases.renew()
        assert not other.acquire("sync")
    age_leases(database, 2 * LEADER_LEASE_DURATION_US)
    leases.renew()
    assert other.acquire("sync")


def test_lease_is_not_renewed_for_a_job_without_a_free_thread(
    leases: LeaderLeases, other: LeaderLeases, database: Database
) -> None:
    leases.acquire("sync")
    with refusing_threads(), pytest.raises(RuntimeError), leases.renewing("sync"):
        pass
    age_leases(database, 2 * LEADER_LEASE_DURATION_US)
    leases.renew()
    assert other.acquire("sync")


def test_owner_reacquires_its_expired_lease(leases: LeaderLeases, database: Database) -> None:
    leases.acquire("audit")
    age_leases(database, 2 * LEADER_LEASE_DURATION_US)
    assert leases.acquire("audit")


def test_close_releases_own_leases_only(leases: LeaderLeases, other: LeaderLeases) -> None:
    leases.acquire("audit")
    other.acquire("retention")
    leases.close()
    assert other.acquire("audit")
    assert not leases.acquire("retention")


def test_close_without_a_lease_needs_no_database() -> None:
    database = Database("postgresql+psycopg://user@127.0.0.1:1/nothing", 2, schema.ensure_current)
    leases = LeaderLeases(database)
    with pytest.raises(StoreUnavailable):
        leases.acquire("audit")
    leases.close()
    database.close()


def test_one_of_concurrent_acquires_succeeds(
    connect: Callable[[], Database], database: Database
) -> None:
    processes = [LeaderLeases(connect()) for _ in range(6)]
    for _ in range(3):
        assert run_concurrently(6, lambda number: processes[number].acquire("audit")) == 1
        # the next round finds an expired row instead of none
        age_leases(database, 2 * LEADER_LEASE_DURATION_US)
