"""The inventory sync: changes every second, a full sync every minute, by one process."""

from datetime import datetime, timedelta

import pytest
from structlog.testing import capture_logs

from tests.support.reconciler_harness import ReconcilerHarness
from vmapi.backends.openstack.failures.exceptions import RequestsThrottled
from vmapi.errors import BackendUnavailable, Forbidden
from vmapi.services.inventory.poll_schedule import (
    LOOKBACK,
    LOOKBACK_INTERVAL,
    MAX_CONCURRENT_POLLS,
    POLL_INTERVAL,
    SYNC_BACKOFF,
    SYNC_OVERLAP,
)
from vmapi.services.inventory.sync import (
    FULL_SYNC_INTERVAL,
    FULL_SYNC_PAUSE_FACTOR,
    MAX_FULL_SYNC_INTERVAL,
    MAX_LOOKBACK,
    InventorySync,
)
from vmapi.store.leader_leases import LeaderLeases
from vmapi.store.tables import sync_state

FULL_SYNC = "full sync"

Call = str | datetime
"""A call to the cloud: `FULL_SYNC`, or the start of the window of a poll for changes."""


class SyncHarness:
    """An inventory sync with a fake clock that records its calls to the cloud."""

    def __init__(self, *, empty: bool = False) -> None:
        self.base = ReconcilerHarness.build()
        self.vm_id = "" if empty else self.base.running_vm()
        self.now = 1000.0
        self.calls: list[Call] = []
        self.errors: list[Exception] = []
        observer = self.base.observer
        full_sync, fetch_changed = observer.full_sync, observer.fetch_changed

        def record_full_sync(timeout: float = -1) -> None:
            self.record(FULL_SYNC)
            full_sync(timeout)

        def record_fetch_changed(since: datetime, started_at: int | None = None) -> object:
            self.record(since)
            return fetch_changed(since, started_at)

        observer.full_sync = record_full_sync
        observer.fetch_changed = record_fetch_changed
        self.full_syncs = 0
        self.sync = InventorySync(
            observer,
            self.base.store,
            on_full_sync=self.count_full_sync,
            clock=self.base.clock,
            monotonic=lambda: self.now,
        )

    def count_full_sync(self) -> None:
        self.full_syncs += 1

    def record(self, call: Call) -> None:
        self.calls.append(call)
        if self.errors:
            raise self.errors.pop()

    def run_after(self, seconds: float = POLL_INTERVAL) -> list[Call]:
        """Advance the time, run the tasks that are due, and return the calls."""
        self.now += seconds
        self.calls.clear()
        column = sync_state.c.started_at
        with self.base.store.database.write() as connection:
            connection.execute(
                sync_state.update().values(started_at=column - int(seconds * 1_000_000))
            )
        tasks = self.sync.tasks
        for _ in range(MAX_CONCURRENT_POLLS):
            tasks["incremental-sync"]()
        tasks["full-sync"]()
        return list(self.calls)


def test_sync_starts_with_a_full_sync_and_repeats_it_every_minute() -> None:
    harness = SyncHarness()
    since = harness.base.clock() - SYNC_OVERLAP
    assert harness.run_after() == [FULL_SYNC]
    assert harness.run_after() == [since + SYNC_OVERLAP - LOOKBACK]
    assert harness.run_after() == [since]
    assert harness.full_syncs == 1
    assert harness.run_after(FULL_SYNC_INTERVAL - 4) == [since + SYNC_OVERLAP - LOOKBACK, since]
    assert harness.run_after(2) == [since, FULL_SYNC]
    assert harness.run_after() == [since]
    assert harness.full_syncs == 2


def test_sync_of_an_empty_cloud_polls_for_changes() -> None:
    harness = SyncHarness(empty=True)
    assert harness.run_after() == [FULL_SYNC]
    assert harness.run_after() == [harness.base.clock() - LOOKBACK]


def test_poll_is_skipped_until_full_sync_when_last_full_sync_is_too_old() -> None:
    harness = SyncHarness()
    harness.run_after()
    assert harness.run_after(MAX_LOOKBACK.total_seconds() + 1) == [FULL_SYNC]


@pytest.mark.parametrize(
    ("duration", "pause"), [(12, FULL_SYNC_PAUSE_FACTOR * 12), (3600, MAX_FULL_SYNC_INTERVAL)]
)
def test_long_full_sync_is_repeated_after_a_long_pause(duration: float, pause: float) -> None:
    harness = SyncHarness()

    def record(call: Call) -> None:
        harness.calls.append(call)
        if call == FULL_SYNC:
            harness.now += duration

    harness.record = record
    assert harness.run_after() == [FULL_SYNC]
    assert FULL_SYNC not in harness.run_after(pause - POLL_INTERVAL)
    assert FULL_SYNC in harness.run_after(POLL_INTERVAL)


def test_poll_starts_at_the_previous_poll_and_reaches_further_back_at_intervals() -> None:
    harness = SyncHarness()
    harness.run_after()
    start = harness.base.clock()
    calls = []
    for _ in range(int(LOOKBACK_INTERVAL) + 1):
        calls += harness.run_after()
        harness.base.clock.sleep(POLL_INTERVAL)
    times = [
        start + timedelta(seconds=POLL_INTERVAL * number)
        for number in range(int(LOOKBACK_INTERVAL) + 1)
    ]
    assert calls[:4] == [start - LOOKBACK, *(time - SYNC_OVERLAP for time in times[:3])]
    assert calls[-2:] == [times[-2] - LOOKBACK, times[-2] - SYNC_OVERLAP]


def test_first_poll_reaches_back_to_the_latest_update_within_a_limit() -> None:
    harness = SyncHarness()
    updated_at = harness.base.clock()
    harness.run_after()
    harness.base.clock.sleep(600)
    assert harness.run_after() == [updated_at - LOOKBACK]
    other = SyncHarness()
    other.run_after()
    other.base.clock.sleep(36000)
    assert other.run_after() == [other.base.clock() - MAX_LOOKBACK]


def test_update_time_in_the_future_hides_no_change() -> None:
    harness = SyncHarness()
    harness.run_after()
    harness.base.clock.now -= timedelta(hours=2)
    assert harness.run_after() == [harness.base.clock() - LOOKBACK]


def test_other_process_syncs_while_it_holds_the_leader_leases() -> None:
    harness = SyncHarness()
    harness.run_after()
    harness.base.store.leader_leases.close()
    other = LeaderLeases(harness.base.store.database)
    assert other.acquire("sync")
    assert other.acquire("full-sync")
    assert [harness.run_after(), harness.run_after(FULL_SYNC_INTERVAL)] == [[], []]
    other.close()
    assert harness.run_after() == [harness.base.clock() - LOOKBACK, FULL_SYNC]


@pytest.mark.parametrize("error", [BackendUnavailable("no response"), Forbidden("no response")])
def test_failure_is_logged_and_retried_after_a_pause(error: Exception) -> None:
    harness = SyncHarness()
    since = harness.base.clock() - SYNC_OVERLAP
    harness.errors.append(error)
    with capture_logs() as logs:
        assert harness.run_after() == [FULL_SYNC]
    assert [(line["event"], line["reason"]) for line in logs] == [
        ("inventory sync failed; serving cached data", "no response")
    ]
    assert harness.run_after(SYNC_BACKOFF - 0.1) == []
    assert harness.run_after(0.1) == [FULL_SYNC]
    harness.run_after()
    harness.base.clock.sleep(10)
    harness.errors.append(error)
    with capture_logs() as logs:
        assert harness.run_after() == [since]
    assert [line["reason"] for line in logs] == ["no response"]
    assert harness.run_after(SYNC_BACKOFF - 0.1) == []
    # the retry covers the window of the failed poll
    assert harness.run_after(0.1) == [since - SYNC_OVERLAP]


def test_throttled_sync_waits_as_long_as_the_cloud_says() -> None:
    harness = SyncHarness()
    harness.errors.append(RequestsThrottled("too many requests", retry_after=17))
    assert harness.run_after() == [FULL_SYNC]
    assert harness.run_after(16.9) == []
    assert harness.run_after(0.1) == [FULL_SYNC]
    harness.run_after()
    harness.errors.append(RequestsThrottled("too many requests", retry_after=17))
    assert len(harness.run_after()) == 1
    assert harness.run_after(16.9) == []
    assert harness.run_after(0.1)


def test_long_sync_renews_its_leader_lease() -> None:
    harness = SyncHarness()
    leases = harness.base.store.leader_leases
    other = LeaderLeases(harness.base.store.database)

    def expire_leases() -> None:
        with harness.base.store.database.write() as connection:
            connection.exec_driver_sql("UPDATE leader_leases SET expires_at = 0")

    def record(call: Call) -> None:
        expire_leases()
        leases.renew()
        assert not other.acquire("full-sync")

    harness.record = record
    harness.run_after()
    expire_leases()
    leases.renew()
    assert other.acquire("full-sync")
