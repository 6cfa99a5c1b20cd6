"""One process keeps the inventory true: what changes, each second; everything, each minute."""

from datetime import datetime, timedelta

import pytest
from structlog.testing import capture_logs

from tests.support.reconciler_harness import ReconcilerHarness
from vmapi.errors import BackendUnavailable, Forbidden
from vmapi.services.inventory.poll_schedule import (
    LOOKBACK,
    LOOKBACK_INTERVAL,
    POLL_INTERVAL,
    SYNC_BACKOFF,
    SYNC_OVERLAP,
)
from vmapi.services.inventory.sync import (
    FULL_SYNC_DUTY_FACTOR,
    FULL_SYNC_INTERVAL,
    MAX_FULL_SYNC_INTERVAL,
    MAX_LOOKBACK,
    InventorySync,
)
from vmapi.store.leader_leases import LeaderLeases
from vmapi.store.tables import sync_state


class Bench:
    """A sync whose looks are written down."""

    def __init__(self, *, empty: bool = False) -> None:
        self.desk = ReconcilerHarness.build()
        self.vm_id = "" if empty else self.desk.running_vm()
        self.now = 1000.0
        self.asked: list[str | datetime] = []
        self.errors: list[Exception] = []
        looks = self.desk.observer
        everything, changed = looks.full_sync, looks.fetch_changed
        looks.full_sync = lambda patience=-1: self.ask("everything") or everything()  # type: ignore[method-assign,misc]
        looks.fetch_changed = lambda since: self.ask(since) or changed(since)  # type: ignore[method-assign,misc]
        self.tidied = 0
        self.sync = InventorySync(
            looks,
            self.desk.store,
            on_full_sync=self.tidy,
            clock=self.desk.clock,
            monotonic=lambda: self.now,
        )

    def tidy(self) -> None:
        self.tidied += 1

    def ask(self, what: str | datetime) -> None:
        self.asked.append(what)
        if self.errors:
            raise self.errors.pop()

    def tick(self, seconds: float = POLL_INTERVAL) -> list[str | datetime]:
        """Let time go on, and return what is looked at."""
        self.now += seconds
        self.asked.clear()
        with self.desk.store.database.write() as connection:
            connection.execute(
                sync_state.update().values(started_at=sync_state.c.started_at - int(seconds * 1e6))
            )
        for chore in self.sync.tasks.values():
            chore()
        return list(self.asked)


def test_it_begins_with_everything_and_does_so_each_minute() -> None:
    bench = Bench()
    since = bench.desk.clock() - SYNC_OVERLAP
    assert bench.tick() == ["everything"]
    assert bench.tick() == [since + SYNC_OVERLAP - LOOKBACK]
    assert bench.tick() == [since]
    assert bench.tidied == 1
    assert bench.tick(FULL_SYNC_INTERVAL - 4) == [since + SYNC_OVERLAP - LOOKBACK, since]
    assert bench.tick(2) == [since, "everything"]
    assert bench.tick() == [since]
    assert bench.tidied == 2


def test_an_empty_cloud_is_asked_for_what_is_new() -> None:
    bench = Bench(empty=True)
    assert bench.tick() == ["everything"]
    assert bench.tick() == [bench.desk.clock() - LOOKBACK]


def test_who_was_away_for_long_looks_at_everything_before_it_says_what_has_changed() -> None:
    bench = Bench()
    bench.tick()
    assert bench.tick(MAX_LOOKBACK.total_seconds() + 1) == ["everything"]


@pytest.mark.parametrize(
    ("takes", "pause"), [(12, FULL_SYNC_DUTY_FACTOR * 12), (3600, MAX_FULL_SYNC_INTERVAL)]
)
def test_looks_at_everything_that_take_long_are_seldom(takes: float, pause: float) -> None:
    bench = Bench()

    def slow(what: str | datetime) -> None:
        bench.asked.append(what)
        if what == "everything":
            bench.now += takes

    bench.ask = slow  # type: ignore[method-assign]
    assert bench.tick() == ["everything"]
    assert "everything" not in bench.tick(pause - POLL_INTERVAL)
    assert "everything" in bench.tick(POLL_INTERVAL)


def test_it_looks_on_from_the_look_before_and_further_back_now_and_then() -> None:
    bench = Bench()
    bench.tick()
    begun = bench.desk.clock()
    found = []
    for _ in range(int(LOOKBACK_INTERVAL) + 1):
        found += bench.tick()
        bench.desk.clock.sleep(POLL_INTERVAL)
    steps = [
        begun + timedelta(seconds=POLL_INTERVAL * number)
        for number in range(int(LOOKBACK_INTERVAL) + 1)
    ]
    assert found[:4] == [begun - LOOKBACK, *(step - SYNC_OVERLAP for step in steps[:3])]
    assert found[-2:] == [steps[-2] - LOOKBACK, steps[-2] - SYNC_OVERLAP]


def test_the_first_look_reaches_back_to_the_newest_change_but_not_for_ever() -> None:
    bench = Bench()
    seen = bench.desk.clock()
    bench.tick()
    bench.desk.clock.sleep(600)
    assert bench.tick() == [seen - LOOKBACK]
    other = Bench()
    other.tick()
    other.desk.clock.sleep(36000)
    assert other.tick() == [other.desk.clock() - MAX_LOOKBACK]


def test_a_host_whose_clock_is_ahead_hides_nothing() -> None:
    bench = Bench()
    bench.tick()
    bench.desk.clock.now -= timedelta(hours=2)
    assert bench.tick() == [bench.desk.clock() - LOOKBACK]


def test_it_is_done_by_one_until_another_takes_it_over() -> None:
    bench = Bench()
    bench.tick()
    database = bench.desk.store.database
    bench.desk.store.leader_leases.close()
    other = LeaderLeases(database)
    assert other.acquire("sync")
    assert other.acquire("sweep")
    assert [bench.tick(), bench.tick(FULL_SYNC_INTERVAL)] == [[], []]
    other.close()
    assert bench.tick() == [bench.desk.clock() - LOOKBACK, "everything"]


@pytest.mark.parametrize("error", [BackendUnavailable("away"), Forbidden("away")])
def test_a_cloud_that_is_away_is_left_alone_for_a_while(error: Exception) -> None:
    bench = Bench()
    since = bench.desk.clock() - SYNC_OVERLAP
    bench.errors.append(error)
    with capture_logs() as logs:
        assert bench.tick() == ["everything"]
    assert [(line["event"], line["reason"]) for line in logs] == [
        ("the inventory grows old", "away")
    ]
    assert bench.tick(SYNC_BACKOFF - 0.1) == []
    assert bench.tick(0.1) == ["everything"]
    bench.tick()
    bench.desk.clock.sleep(10)
    bench.errors.append(error)
    with capture_logs() as logs:
        assert bench.tick() == [since]
    assert [line["reason"] for line in logs] == ["away"]
    assert bench.tick(SYNC_BACKOFF - 0.1) == []
    # from where the one that failed has begun
    assert bench.tick(0.1) == [since - SYNC_OVERLAP]


def test_a_look_that_takes_long_keeps_the_duty() -> None:
    bench = Bench()
    duties = bench.desk.store.leader_leases
    other = LeaderLeases(bench.desk.store.database)

    def long(what: str | datetime) -> None:
        with bench.desk.store.database.write() as connection:
            connection.exec_driver_sql("UPDATE leader_leases SET expires_at = 0")
        duties.renew()
        assert not other.acquire("sweep")

    bench.ask = long  # type: ignore[method-assign]
    bench.tick()
    with bench.desk.store.database.write() as connection:
        connection.exec_driver_sql("UPDATE leader_leases SET expires_at = 0")
    duties.renew()
    assert other.acquire("sweep")
