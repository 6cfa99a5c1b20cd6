"""Keeping the inventory true: what has changed, each second; everything, each minute."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from math import inf

import structlog

from vmapi.errors import BackendFailure, Forbidden
from vmapi.services.inventory.observer import Looks
from vmapi.services.inventory.poll_schedule import AT_ONCE, PAUSE, PERIOD, Course
from vmapi.services.periodic import Chore
from vmapi.store.store import Store

log = structlog.get_logger("vmapi.sync")

HORIZON = timedelta(hours=1)
"""How far a look reaches back at most: what changed before, a look at everything has shown."""

SWEEP = 60.0
"""Seconds between two looks at everything: what does not move a server's own time shows then."""

SHARE = 10
"""A look at everything that takes long is not taken again for so many times as long."""

SELDOM = HORIZON.total_seconds() / 2
"""Seconds between two looks at everything at most, however long they take."""


TICK = 0.1
"""Seconds between two times that it is asked whether a look at what has changed is due."""


class Sync:
    """One process does this for all. `clock` tells the cloud's time, `monotonic` seconds.

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
        self._course = Course(monotonic)
        self._resume = -inf
        self._between = SWEEP

    @property
    def chores(self) -> Mapping[str, Chore]:
        """What is to be called, each by itself: a look may take long."""
        follow = {f"sync-{number}": Chore(self.follow, TICK) for number in range(1, AT_ONCE + 1)}
        return {**follow, "sweep": Chore(self.sweep)}

    def follow(self) -> None:
        """Look at what has changed, if that is due. Raises StoreUnavailable."""
        if not self._course.is_due() or not self._store.duties.hold("sync"):
            return
        swept = self._store.inventory.since_sweep()
        if swept is not None and swept < HORIZON.total_seconds():
            # else everything is to be looked at first
            with self._store.duties.kept("sync"):
                self._changes()

    def sweep(self) -> None:
        """Look at everything, if that is due. Raises StoreUnavailable."""
        if self._monotonic() < self._resume:
            return
        self._resume = self._monotonic() + PERIOD
        swept = self._store.inventory.since_sweep()
        due = swept is None or swept >= self._between
        if due and self._store.duties.hold("sweep"):
            with self._store.duties.kept("sweep"):
                self._everything()

    def _changes(self) -> None:
        begun, present = self._store.inventory.begin(), self._clock()
        known = min(self._store.inventory.newest() or present, present)
        look = self._course.begin(known, present, begun)
        try:
            self._looks.changed(max(look.since, present - HORIZON))
        except (BackendFailure, Forbidden) as error:
            log.warning("the inventory grows old", reason=error.detail)
            self._course.fail(look)
        except BaseException:
            self._course.fail(look)
            raise
        else:
            if (all_until := self._course.end(look)) is not None:
                self._store.inventory.synced(all_until)

    def _everything(self) -> None:
        begun = self._monotonic()
        try:
            self._looks.everything()
        except (BackendFailure, Forbidden) as error:
            log.warning("the inventory grows old", reason=error.detail)
            self._resume = self._monotonic() + PAUSE
            return
        self._between = min(max(SWEEP, SHARE * (self._monotonic() - begun)), SELDOM)
        self._tidy()
