"""Which looks at what has changed are under way, and from when on the next one has to look."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from threading import Lock

POLL_INTERVAL = 1.0
"""Seconds between two looks."""

OVERLAPPED_POLL_INTERVAL = 0.4
"""The same while a look takes so long that the next one is begun beside it."""

MAX_CONCURRENT_POLLS = 4
"""Looks that may be under way."""

SYNC_OVERLAP = timedelta(seconds=0.5)
"""By how much a look reaches back before the one before it began: hosts' clocks differ a little."""

LOOKBACK = timedelta(seconds=16)
"""By how much it does so from time to time: what a host was late to write shows then."""

LOOKBACK_INTERVAL = 15.0
"""Seconds between two that reach back so far."""

SYNC_BACKOFF = 2.0
"""Seconds for which a cloud that did not answer is left alone."""


@dataclass(eq=False, slots=True)
class PollWindow:
    """A look at what has changed `since`, on the cloud's clock; it began then on the shared one.

    One that is `extra` shows what others have missed: nobody waits for it.
    """

    since: datetime
    started_at: int
    is_lookback: bool
    done: bool = False


class PollSchedule:
    """The looks of one process. Safe to use from several threads; `monotonic` is in seconds.

    Each begins where the one before it began, so that one which takes long holds up none: the
    cloud takes a while for each server that has changed.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = Lock()
        self._next_poll_at = -inf
        self._next_lookback_at = inf
        self._next_since: datetime | None = None
        self._in_flight = 0
        self._windows: list[PollWindow] = []

    def is_due(self) -> bool:
        """Tell whether a look is to be begun now; who is told so begins it, or lets it be."""
        with self._lock:
            now = self._monotonic()
            if now < self._next_poll_at or self._in_flight >= MAX_CONCURRENT_POLLS:
                return False
            self._next_poll_at = now + (
                OVERLAPPED_POLL_INTERVAL if self._in_flight else POLL_INTERVAL
            )
            return True

    def begin(self, known_until: datetime, cloud_time: datetime, started_at: int) -> PollWindow:
        """Begin a look; before the first one, everything is known up to a time.

        `present` is the cloud's time.
        """
        with self._lock:
            now = self._monotonic()
            # a cloud that is slow as it is is not asked for more: a sweep shows what was missed
            first, extra = (
                self._next_since is None,
                now >= self._next_lookback_at and not self._in_flight,
            )
            if first or extra:
                self._next_lookback_at = now + LOOKBACK_INTERVAL
            look = PollWindow(
                (self._next_since or known_until) - (LOOKBACK if first or extra else SYNC_OVERLAP),
                started_at,
                extra,
            )
            self._in_flight += 1
            if extra:
                self._next_poll_at = now
            else:
                self._next_since = cloud_time
                self._windows.append(look)
            return look

    def end(self, window: PollWindow) -> int | None:
        """Return up to when all changes are known by now; None while an older look has no end."""
        with self._lock:
            self._in_flight -= 1
            window.done = True
            known = None
            while self._windows and self._windows[0].done:
                known = self._windows.pop(0).started_at
            return known

    def fail(self, window: PollWindow) -> None:
        """Have the next look begin where this one did, in a while."""
        with self._lock:
            self._in_flight -= 1
            self._next_poll_at = self._monotonic() + SYNC_BACKOFF
            if not window.is_lookback:
                self._next_since = min(window.since, self._next_since or window.since)
                # what came of those after it proves nothing
                self._windows = [
                    each for each in self._windows if each.started_at < window.started_at
                ]
