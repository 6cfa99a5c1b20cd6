"""Poll the cloud: for changes every second, for all VMs every minute.

Two periodic tasks of the engine keep the inventory current:

- `poll_changes`, the incremental sync: changes-since polls on the schedule of `poll_schedule`.
- `full_sync_if_due`, the full sync: lists all VMs every `FULL_SYNC_INTERVAL`. It finds the changes
  that the incremental sync misses: those that do not move a server's `updated` time.
  On a large cloud it runs less often: see `FULL_SYNC_PAUSE_FACTOR`.

One process runs each task for all processes, while it holds the leader lease. The incremental sync
starts after a first full sync, and again after a pause longer than `MAX_LOOKBACK`.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from math import inf

from vmapi.errors import BackendFailure, Forbidden, VmapiError
from vmapi.services.inventory.failure_log import SyncFailureLog
from vmapi.services.inventory.observer import CloudObserver
from vmapi.services.inventory.poll_schedule import (
    MAX_CONCURRENT_POLLS,
    POLL_INTERVAL,
    SYNC_BACKOFF,
    PollSchedule,
)
from vmapi.services.periodic import PeriodicTask
from vmapi.services.timeouts import throttled_seconds
from vmapi.store.store import Store
from vmapi.telemetry.metrics.catalog import INVENTORY_SYNC_SECONDS

MAX_LOOKBACK = timedelta(hours=1)
"""How far a poll for changes reaches back at most: a full sync covers older changes."""

FULL_SYNC_INTERVAL = 60.0
"""Seconds between two full syncs."""

FULL_SYNC_PAUSE_FACTOR = 10
"""The interval between full syncs is at least so many times the duration of one."""

MAX_FULL_SYNC_INTERVAL = MAX_LOOKBACK.total_seconds() / 2
"""The longest interval between full syncs, in seconds, whatever the duration of one."""

SCHEDULE_TICK = 0.1
"""Seconds between two checks whether a poll for changes is due."""


class InventorySync:
    """Runs the incremental sync and the full sync.

    `clock` is the cloud's, `monotonic` returns seconds. `on_full_sync` is called after each full
    sync.
    """

    def __init__(
        self,
        observer: CloudObserver,
        store: Store,
        *,
        on_full_sync: Callable[[], None],
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._observer = observer
        self._store = store
        self._on_full_sync = on_full_sync
        self._clock = clock
        self._monotonic = monotonic
        self._schedule = PollSchedule(monotonic)
        self._failure_logs = {kind: SyncFailureLog(kind, monotonic) for kind in ("changes", "full")}
        self._next_full_sync_check_at = -inf
        self._full_sync_interval = FULL_SYNC_INTERVAL

    @property
    def tasks(self) -> Mapping[str, PeriodicTask]:
        """The periodic tasks, by name."""
        return {
            "incremental-sync": PeriodicTask(
                self.poll_changes,
                SCHEDULE_TICK,
                is_due=self._schedule.is_due,
                max_concurrent=MAX_CONCURRENT_POLLS,
            ),
            "full-sync": PeriodicTask(self.full_sync_if_due),
        }

    def poll_changes(self) -> None:
        """Poll the cloud for changes if this process is the leader. Raises StoreUnavailable."""
        if not self._store.leader_leases.acquire("sync"):
            return
        age = self._store.inventory.seconds_since_full_sync()
        if age is not None and age < MAX_LOOKBACK.total_seconds():
            with self._store.leader_leases.renewing("sync"):
                self._poll_changes()

    def full_sync_if_due(self) -> None:
        """Run a full sync if one is due and this process is the leader. Raises StoreUnavailable."""
        if self._monotonic() < self._next_full_sync_check_at:
            return
        self._next_full_sync_check_at = self._monotonic() + POLL_INTERVAL
        age = self._store.inventory.seconds_since_full_sync()
        is_due = age is None or age >= self._full_sync_interval
        if is_due and self._store.leader_leases.acquire("full-sync"):
            with self._store.leader_leases.renewing("full-sync"):
                self._full_sync()

    def _poll_changes(self) -> None:
        started_at, cloud_time = self._store.inventory.observation_time(), self._clock()
        known_until = min(self._store.inventory.latest_update() or cloud_time, cloud_time)
        began_at = self._monotonic()
        window = self._schedule.begin(known_until, cloud_time, started_at)
        try:
            self._observer.fetch_changed(max(window.since, cloud_time - MAX_LOOKBACK), started_at)
        except (BackendFailure, Forbidden) as error:
            self._schedule.fail(window, _pause_after(error))
            self._record("changes", began_at, error)
        except BaseException:
            self._schedule.fail(window)
            raise
        else:
            self._record("changes", began_at)
            if (sync_mark := self._schedule.end(window)) is not None:
                self._store.inventory.mark_changes_synced(sync_mark)

    def _full_sync(self) -> None:
        started_at = self._monotonic()
        try:
            self._observer.full_sync()
        except (BackendFailure, Forbidden) as error:
            self._next_full_sync_check_at = self._monotonic() + _pause_after(error)
            self._record("full", started_at, error)
            return
        duration = self._record("full", started_at)
        interval = max(FULL_SYNC_INTERVAL, FULL_SYNC_PAUSE_FACTOR * duration)
        self._full_sync_interval = min(interval, MAX_FULL_SYNC_INTERVAL)
        self._on_full_sync()

    def _record(self, kind: str, began_at: float, error: VmapiError | None = None) -> float:
        """Record a sync in the metrics and the log, and return its duration in seconds."""
        duration = self._monotonic() - began_at
        INVENTORY_SYNC_SECONDS.observe(duration, kind, "failure" if error else "success")
        if error is None:
            self._failure_logs[kind].record_success()
        else:
            self._failure_logs[kind].record_failure(error)
        return duration


def _pause_after(error: VmapiError) -> float:
    """Return the seconds without a request after a failure: a throttled cloud names its own."""
    return max(SYNC_BACKOFF, throttled_seconds(error))
