"""Keeping the inventory true: what has changed, each second; everything, each minute."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

import structlog

from vmapi.errors import BackendFailure, Forbidden
from vmapi.services.looks import Looks
from vmapi.store.store import Store

log = structlog.get_logger("vmapi.sync")

OVERLAP = timedelta(seconds=5)
"""By how much one look reaches back before the newest change of the one before it.

The cloud's times are whole seconds, and those of its hosts differ.
"""

HORIZON = timedelta(hours=1)
"""How far a look reaches back at most: what changed before, a look at everything has shown."""

SWEEP = 60.0
"""Seconds between two looks at everything: what does not move a server's own time shows then."""

SHARE = 10
"""A look at everything that takes long is not taken again for so many times as long."""

SELDOM = HORIZON.total_seconds() / 2
"""Seconds between two looks at everything at most, however long they take."""

PAUSE = 2.0
"""Seconds for which a cloud that did not answer is left alone."""


class Sync:
    """One process does this for all. `clock` tells the time in UTC, `monotonic` in seconds.

    `tidy` is called when everything was looked at.
    """

    def __init__(
        self,
        looks: Looks,
        store: Store,
        *,
        tidy: Callable[[], None],
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._looks = looks
        self._store = store
        self._tidy = tidy
        self._clock = clock
        self._monotonic = monotonic
        self._resume: dict[str, float] = {}
        self._between = SWEEP

    @property
    def chores(self) -> Mapping[str, Callable[[], None]]:
        """What is to be called about once a second, each by itself: they may take long."""
        return {"sync": self.follow, "sweep": self.sweep}

    def follow(self) -> None:
        """Look at what has changed. Raises StoreUnavailable."""
        self._as_a_duty("sync", self._changes)

    def sweep(self) -> None:
        """Look at everything when that is due. Raises StoreUnavailable."""
        swept = self._store.inventory.since_sweep()
        if swept is None or swept >= self._between:
            self._as_a_duty("sweep", self._everything)

    def _as_a_duty(self, name: str, look: Callable[[], None]) -> None:
        if self._monotonic() < self._resume.get(name, 0.0) or not self._store.duties.hold(name):
            return
        try:
            with self._store.duties.kept(name):
                look()
        except (BackendFailure, Forbidden) as error:
            log.warning("the inventory grows old", reason=error.detail)
            self._resume[name] = self._monotonic() + PAUSE

    def _changes(self) -> None:
        swept = self._store.inventory.since_sweep()
        if swept is None or swept > HORIZON.total_seconds():
            # what changed before the horizon is not known: everything is to be looked at first
            return
        begun, present = self._store.inventory.begin(), self._clock()
        newest = self._store.inventory.newest() or present
        # one host whose clock is wrong does not hide what the others do
        since = min(max(newest, present - HORIZON), present) - OVERLAP
        self._looks.changed(since)
        self._store.inventory.synced(begun)

    def _everything(self) -> None:
        begun = self._monotonic()
        self._looks.everything()
        self._between = min(max(SWEEP, SHARE * (self._monotonic() - begun)), SELDOM)
        self._tidy()
