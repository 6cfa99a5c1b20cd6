"""Heartbeat tests: a live process keeps its leases, whatever else it is busy with."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from tests.support.blocking_source import wait_until
from tests.support.fake_clock import Clock
from tests.support.operation_factory import OperationFactory
from vmapi.errors import StoreUnavailable
from vmapi.store.database import Database
from vmapi.store.leader_leases import LeaderLeases
from vmapi.store.lease_heartbeat import LeaseHeartbeat
from vmapi.store.operations.leases import LEASE_DURATION_US
from vmapi.store.operations.repository import OperationRepository

FAST = 0.01
TIMEOUT = 60.0
"""Seconds that no step of a test takes."""


@pytest.fixture
def store(database: Database, clock: Clock) -> Iterator[OperationRepository]:
    repository = OperationRepository(database, clock, heartbeat=LeaseHeartbeat(FAST))
    yield repository
    repository.close()


@pytest.fixture
def releasing_store(database: Database, clock: Clock) -> Iterator[OperationRepository]:
    """The repository of a process without an engine: it holds a lease only while it works."""
    repository = OperationRepository(
        database, clock, renews_idle=False, heartbeat=LeaseHeartbeat(FAST)
    )
    yield repository
    repository.close()


def update_leases(database: Database, assignment: str, **values: object) -> None:
    """Change lease columns as if time had passed or a process had died."""
    with database.write() as connection:
        connection.execute(text(f"UPDATE operations SET {assignment}"), values)


def expiry_times(database: Database) -> dict[str, int]:
    """Return when the lease of each operation expires."""
    with database.read() as connection:
        rows = connection.execute(text("SELECT id, lease_expires_at FROM operations"))
        return {row.id: row.lease_expires_at for row in rows}


def leader_expiry(database: Database) -> int:
    with database.read() as connection:
        expires_at: int = connection.execute(
            text("SELECT expires_at FROM leader_leases")
        ).scalar_one()
    return expires_at


def heartbeat_threads() -> int:
    return sum(thread.name == "lease-heartbeat" for thread in threading.enumerate())


def test_heartbeat_renews_the_leases_of_a_live_process(
    store: OperationRepository,
    other: OperationRepository,
    make: OperationFactory,
    database: Database,
) -> None:
    for id in "12":
        store.add(make(id, vm_id=id))
    store.release("1")
    update_leases(database, "lease_expires_at = 0")
    wait_until(lambda: min(expiry_times(database).values()) > 0)
    assert other.list_leased() == []
    for id in "12":
        with other.lease(id) as acquired:
            assert not acquired
    earlier = expiry_times(database)
    wait_until(lambda: all(expiry > earlier[id] for id, expiry in expiry_times(database).items()))
    expected = time.time() * 1_000_000 + LEASE_DURATION_US
    tolerance = 1_000_000 * TIMEOUT
    assert all(abs(expiry - expected) < tolerance for expiry in expiry_times(database).values())


def test_heartbeat_skips_finished_operations_and_those_of_other_processes(
    store: OperationRepository,
    other: OperationRepository,
    make: OperationFactory,
    database: Database,
) -> None:
    store.add(make("1"))
    store.add(make("2", vm_id="other"))
    store.save(make.finished(store.get("2")))
    store.add(make("3", vm_id="third"))
    update_leases(database, "lease_owner = 'dead', lease_expires_at = 7 WHERE id = '3'")
    update_leases(database, "lease_expires_at = 7")
    wait_until(lambda: expiry_times(database)["1"] > 7)
    assert (expiry_times(database)["2"], expiry_times(database)["3"]) == (7, 7)
    assert [operation.id for operation in other.list_leased()] == ["3"]


def test_process_without_an_engine_renews_only_leases_in_use(
    releasing_store: OperationRepository,
    other: OperationRepository,
    make: OperationFactory,
    database: Database,
) -> None:
    for id in "12":
        releasing_store.add(make(id, vm_id=id))
    releasing_store.release("2")
    # a renewal that has begun may still cover both
    for _ in range(2):
        last = expiry_times(database)["1"]
        wait_until(lambda last=last: expiry_times(database)["1"] > last)
    owner = "(SELECT lease_owner FROM operations WHERE id = '1')"
    update_leases(database, f"lease_owner = {owner}, lease_expires_at = 7")
    wait_until(lambda: expiry_times(database)["1"] > 7)
    assert expiry_times(database)["2"] == 7
    assert [operation.id for operation in other.list_leased()] == ["2"]
    releasing_store.renew_across_ticks()
    wait_until(lambda: expiry_times(database)["2"] > 7)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (StoreUnavailable("away"), ("store unavailable, leases not renewed", "debug", "away")),
        (ZeroDivisionError(), ("lease renewal failed", "error", None)),
    ],
)
def test_heartbeat_continues_after_a_failed_renewal(
    store: OperationRepository,
    make: OperationFactory,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    *,
    error: Exception,
    line: tuple[str, str, str | None],
) -> None:
    attempted = threading.Event()

    def write(**_: bool) -> AbstractContextManager[object]:
        attempted.set()
        raise error

    store.add(make("1"))
    with capture_logs() as logs:
        with monkeypatch.context() as patched:
            patched.setattr(database, "write", write)
            assert attempted.wait(TIMEOUT)
        update_leases(database, "lease_expires_at = 7")
        wait_until(lambda: expiry_times(database)["1"] > 7)
    assert {(log["event"], log["log_level"], log.get("reason")) for log in logs} == {line}


def test_failed_renewal_does_not_hinder_the_other_renewals() -> None:
    renewed = threading.Event()
    heartbeat = LeaseHeartbeat(FAST)

    def fail() -> None:
        raise StoreUnavailable("away")

    heartbeat.register(fail)
    heartbeat.register(renewed.set)
    heartbeat.start()
    assert renewed.wait(TIMEOUT)
    heartbeat.close()


def test_lease_that_cannot_be_released_expires(
    other: OperationRepository,
    make: OperationFactory,
    database: Database,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    releasing_store = OperationRepository(
        database, clock, renews_idle=False, heartbeat=LeaseHeartbeat(TIMEOUT)
    )
    releasing_store.add(make("1"))

    def write(**_: bool) -> AbstractContextManager[object]:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr(database, "write", write)
        releasing_store.release("1")
    assert [(log["event"], log["reason"]) for log in logs] == [
        ("lease not released, will expire", "away")
    ]
    assert other.list_leased() == []
    update_leases(database, "lease_expires_at = 0")
    with other.lease("1") as acquired:
        assert acquired
    releasing_store.close()


def test_heartbeat_runs_from_the_first_operation_to_close(
    connect: Callable[[], Database], clock: Clock, make: OperationFactory
) -> None:
    store = OperationRepository(connect(), clock)
    before = heartbeat_threads()
    assert store.list_leased() == []
    assert heartbeat_threads() == before
    for id in "12":
        store.add(make(id, vm_id=id))
        assert heartbeat_threads() == before + 1
    store.close()
    assert heartbeat_threads() == before
    store.add(make("3", vm_id="3"))
    assert heartbeat_threads() == before


def test_operation_leases_and_leader_leases_share_one_thread(
    database: Database, clock: Clock, make: OperationFactory
) -> None:
    heartbeat = LeaseHeartbeat(FAST)
    store = OperationRepository(database, clock, heartbeat=heartbeat)
    leader_leases = LeaderLeases(database, heartbeat)
    before = heartbeat_threads()
    store.add(make("1"))
    assert leader_leases.acquire("sync")
    with leader_leases.renewing("sync"):
        assert heartbeat_threads() == before + 1
        update_leases(database, "lease_expires_at = 0")
        with database.write() as connection:
            connection.execute(text("UPDATE leader_leases SET expires_at = 0"))
        wait_until(lambda: expiry_times(database)["1"] > 0)
        wait_until(lambda: leader_expiry(database) > 0)
    store.close()
    leader_leases.close()
    assert heartbeat_threads() == before
