"""Keeping the inventory true: what has changed, each second; everything, each minute."""

from collections.abc import Callable
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

PAUSE = 2.0
"""Seconds for which a cloud that did not answer is left alone."""


class Sync:
    """One process does this for all. `clock` tells the time in UTC, `monotonic` in seconds."""

    def __init__(
        self,
        looks: Looks,
        store: Store,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._looks = looks
        self._store = store
        self._clock = clock
        self._monotonic = monotonic
        self._resume = monotonic()
        self._swept: float | None = None

    def tick(self) -> None:
        """Look at what is due; called about once a second. Raises StoreUnavailable."""
        now = self._monotonic()
        if now < self._resume:
            return
        if not self._store.duties.hold("sync"):
            # whoever takes it over begins with everything
            self._swept = None
            return
        try:
            with self._store.duties.kept("sync"):
                self._look(now)
        except (BackendFailure, Forbidden) as error:
            log.warning("the inventory grows old", reason=error.detail)
            self._resume = self._monotonic() + PAUSE

    def _look(self, now: float) -> None:
        newest = self._store.inventory.newest()
        if newest is None or self._swept is None or now - self._swept >= SWEEP:
            self._looks.everything()
            self._swept = now
            return
        begun, present = self._store.inventory.begin(), self._clock()
        # one host whose clock is wrong does not hide what the others do
        since = min(max(newest, present - HORIZON), present) - OVERLAP
        self._looks.changed(since)
        self._store.inventory.synced(begun)
