"""The heartbeat: a process that lives keeps its operations, whatever it is busy with."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from tests.support.blocking_source import wait_until
from tests.support.fake_clock import Clock
from tests.support.operation_factory import Maker
from vmapi.errors import StoreUnavailable
from vmapi.store.database import Database
from vmapi.store.operations import leases
from vmapi.store.operations.leases import LEASE_DURATION_US
from vmapi.store.operations.repository import OperationRepository

SOON = 10.0
"""Seconds that nothing here takes."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "HEARTBEAT_INTERVAL", 0.01)


@pytest.fixture
def leaver(database: Database, clock: Clock) -> Iterator[OperationRepository]:
    """The store of a process that leaves what it takes on to others."""
    store = OperationRepository(database, clock, renews_idle=False)
    yield store
    store.close()


def change(database: Database, assignment: str, **values: object) -> None:
    """Change the leases as if time had gone on, or a process died."""
    with database.write() as connection:
        connection.execute(text(f"UPDATE operations SET {assignment}"), values)


def ends(database: Database) -> dict[str, int]:
    """Return until when each operation is leased."""
    with database.read() as connection:
        found = connection.execute(text("SELECT id, lease_expires_at FROM operations"))
        return {row.id: row.lease_expires_at for row in found}


def hearts() -> int:
    return sum(thread.name == "leases" for thread in threading.enumerate())


def test_who_lives_keeps_what_it_has(
    store: OperationRepository, other: OperationRepository, make: Maker, database: Database
) -> None:
    for id in "12":
        store.add(make(id, vm_id=id))
    with store.lease("1", lease_held=True):
        pass
    change(database, "lease_expires_at = 0")
    wait_until(lambda: min(ends(database).values()) > 0)
    assert other.list_leased() == []
    for id in "12":
        with other.lease(id) as held:
            assert not held
    begun = ends(database)
    wait_until(lambda: all(end > begun[id] for id, end in ends(database).items()))
    now = time.time() * 1_000_000
    assert all(
        abs(end - now - LEASE_DURATION_US) < 1_000_000 * SOON for end in ends(database).values()
    )


def test_what_is_over_or_anothers_is_let_be(
    store: OperationRepository, other: OperationRepository, make: Maker, database: Database
) -> None:
    store.add(make("1"))
    store.add(make("2", vm_id="other"))
    store.save(make.over(store.get("2")))
    store.add(make("3", vm_id="third"))
    change(database, "lease_owner = 'dead', lease_expires_at = 7 WHERE id = '3'")
    change(database, "lease_expires_at = 7")
    wait_until(lambda: ends(database)["1"] > 7)
    assert (ends(database)["2"], ends(database)["3"]) == (7, 7)
    assert [each.id for each in other.list_leased()] == ["3"]


def test_who_leaves_it_to_others_keeps_only_what_it_holds(
    leaver: OperationRepository, other: OperationRepository, make: Maker, database: Database
) -> None:
    for id in "12":
        leaver.add(make(id, vm_id=id))
    with leaver.lease("2", lease_held=True):
        pass
    # a beat that has begun may still be about both
    for _ in range(2):
        last = ends(database)["1"]
        wait_until(lambda last=last: ends(database)["1"] > last)
    mine = "(SELECT lease_owner FROM operations WHERE id = '1')"
    change(database, f"lease_owner = {mine}, lease_expires_at = 7")
    wait_until(lambda: ends(database)["1"] > 7)
    assert ends(database)["2"] == 7
    assert [each.id for each in other.list_leased()] == ["2"]
    leaver.renew_across_ticks()
    wait_until(lambda: ends(database)["2"] > 7)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (StoreUnavailable("away"), ("leases cannot be renewed", "warning", "away")),
        (ZeroDivisionError(), ("leases could not be renewed", "error", None)),
    ],
)
def test_it_goes_on_when_the_database_is_back(
    store: OperationRepository,
    make: Maker,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    *,
    error: Exception,
    line: tuple[str, str, str | None],
) -> None:
    tried = threading.Event()

    def write(**_: bool) -> AbstractContextManager[object]:
        tried.set()
        raise error

    store.add(make("1"))
    with capture_logs() as logs:
        with monkeypatch.context() as patched:
            patched.setattr(database, "write", write)
            assert tried.wait(SOON)
        change(database, "lease_expires_at = 7")
        wait_until(lambda: ends(database)["1"] > 7)
    assert {(each["event"], each["log_level"], each.get("reason")) for each in logs} == {line}


def test_a_lease_that_cannot_be_given_back_is_left_to_run_out(
    leaver: OperationRepository,
    other: OperationRepository,
    make: Maker,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leases, "HEARTBEAT_INTERVAL", SOON)
    leaver.add(make("1"))

    def write(**_: bool) -> AbstractContextManager[object]:
        raise StoreUnavailable("away")

    with (
        monkeypatch.context() as patched,
        capture_logs() as logs,
        leaver.lease("1", lease_held=True),
    ):
        patched.setattr(database, "write", write)
    assert [(line["event"], line["reason"]) for line in logs] == [
        ("a lease is left to run out", "away")
    ]
    assert other.list_leased() == []
    change(database, "lease_expires_at = 0")
    with other.lease("1") as held:
        assert held


def test_it_beats_from_the_first_operation_to_the_end(
    connect: Callable[[], Database], clock: Clock, make: Maker
) -> None:
    store = OperationRepository(connect(), clock)
    before = hearts()
    assert store.list_leased() == []
    assert hearts() == before
    for id in "12":
        store.add(make(id, vm_id=id))
        assert hearts() == before + 1
    store.close()
    assert hearts() == before
    store.add(make("3", vm_id="3"))
    assert hearts() == before
