"""Keeping the inventory true: what has changed, each second; everything, each minute."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from math import inf

import structlog

from vmapi.errors import BackendFailure, Forbidden
from vmapi.services.inventory.observer import CloudObserver
from vmapi.services.inventory.poll_schedule import (
    MAX_CONCURRENT_POLLS,
    POLL_INTERVAL,
    SYNC_BACKOFF,
    PollSchedule,
)
from vmapi.services.periodic import PeriodicTask
from vmapi.store.store import Store

log = structlog.get_logger("vmapi.sync")

MAX_LOOKBACK = timedelta(hours=1)
"""How far a look reaches back at most: what changed before, a look at everything has shown."""

FULL_SYNC_INTERVAL = 60.0
"""Seconds between two looks at everything: what does not move a server's own time shows then."""

FULL_SYNC_DUTY_FACTOR = 10
"""A look at everything that takes long is not taken again for so many times as long."""

MAX_FULL_SYNC_INTERVAL = MAX_LOOKBACK.total_seconds() / 2
"""Seconds between two looks at everything at most, however long they take."""


SCHEDULE_TICK = 0.1
"""Seconds between two times that it is asked whether a look at what has changed is due."""


class InventorySync:
    """One process does this for all. `clock` tells the cloud's time, `monotonic` seconds.

    `tidy` is called when everything was looked at.
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
        self._next_full_sync_check_at = -inf
        self._full_sync_interval = FULL_SYNC_INTERVAL

    @property
    def tasks(self) -> Mapping[str, PeriodicTask]:
        """What is to be called, each by itself: a look may take long."""
        follow = {
            f"sync-{number}": PeriodicTask(self.poll_changes, SCHEDULE_TICK)
            for number in range(1, MAX_CONCURRENT_POLLS + 1)
        }
        return {**follow, "sweep": PeriodicTask(self.full_sync_if_due)}

    def poll_changes(self) -> None:
        """Look at what has changed, if that is due. Raises StoreUnavailable."""
        if not self._schedule.is_due() or not self._store.leader_leases.acquire("sync"):
            return
        swept = self._store.inventory.seconds_since_full_sync()
        if swept is not None and swept < MAX_LOOKBACK.total_seconds():
            # else everything is to be looked at first
            with self._store.leader_leases.renewing("sync"):
                self._poll_changes()

    def full_sync_if_due(self) -> None:
        """Look at everything, if that is due. Raises StoreUnavailable."""
        if self._monotonic() < self._next_full_sync_check_at:
            return
        self._next_full_sync_check_at = self._monotonic() + POLL_INTERVAL
        swept = self._store.inventory.seconds_since_full_sync()
        due = swept is None or swept >= self._full_sync_interval
        if due and self._store.leader_leases.acquire("sweep"):
            with self._store.leader_leases.renewing("sweep"):
                self._full_sync()

    def _poll_changes(self) -> None:
        begun, present = self._store.inventory.observation_time(), self._clock()
        known = min(self._store.inventory.latest_update() or present, present)
        look = self._schedule.begin(known, present, begun)
        try:
            self._observer.fetch_changed(max(look.since, present - MAX_LOOKBACK))
        except (BackendFailure, Forbidden) as error:
            log.warning("the inventory grows old", reason=error.detail)
            self._schedule.fail(look)
        except BaseException:
            self._schedule.fail(look)
            raise
        else:
            if (all_until := self._schedule.end(look)) is not None:
                self._store.inventory.mark_changes_synced(all_until)

    def _full_sync(self) -> None:
        begun = self._monotonic()
        try:
            self._observer.full_sync()
        except (BackendFailure, Forbidden) as error:
            log.warning("the inventory grows old", reason=error.detail)
            self._next_full_sync_check_at = self._monotonic() + SYNC_BACKOFF
            return
        self._full_sync_interval = min(
            max(FULL_SYNC_INTERVAL, FULL_SYNC_DUTY_FACTOR * (self._monotonic() - begun)),
            MAX_FULL_SYNC_INTERVAL,
        )
        self._on_full_sync()
