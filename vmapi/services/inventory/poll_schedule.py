"""Schedule the polls for changes: one a second, and overlapping where the cloud is slow.

`InventorySync` polls the cloud (Nova: `GET /servers/detail?changes-since=T`) on this schedule.

- A poll starts every `POLL_INTERVAL`. Its T is the start of the poll before, less `SYNC_OVERLAP`.
- Polls overlap. Nova needs several milliseconds for each changed server, so a poll of a busy cloud
  takes longer than the interval. The next one then starts `OVERLAPPED_POLL_INTERVAL` after the
  first, while that is in progress, up to `MAX_CONCURRENT_POLLS`. A slow response delays only its
  own changes.
- A lookback poll every `LOOKBACK_INTERVAL` reaches back by `LOOKBACK`. It finds the changes that a
  host has written late. No other poll waits for it, and it does not move the sync mark.

Invariant: the sync mark is the start of a poll that has finished, and so have all before it. After
a failure the next poll reaches back to the T of the failed one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from threading import Lock

POLL_INTERVAL = 1.0
"""Seconds between the starts of two polls."""

OVERLAPPED_POLL_INTERVAL = 0.4
"""Seconds between the starts of two polls while an earlier one is in progress."""

MAX_CONCURRENT_POLLS = 4

SYNC_OVERLAP = timedelta(seconds=0.5)
"""How far a poll reaches back before the start of the previous one: hosts' clocks differ."""

LOOKBACK = timedelta(seconds=16)
"""How far a lookback poll reaches back: longer than hosts take to write a change."""

LOOKBACK_INTERVAL = 15.0
"""Seconds between two lookback polls."""

SYNC_BACKOFF = 2.0
"""Seconds without a poll after a failure."""


@dataclass(eq=False, slots=True)
class PollWindow:
    """One poll for changes."""

    #: The poll asks for changes since this time of the cloud's clock.
    since: datetime
    #: The start of the poll on the database's clock, in epoch microseconds.
    started_at: int
    is_lookback: bool
    done: bool = False


class PollSchedule:
    """The polls of one process. Thread-safe; `monotonic` returns seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = Lock()
        self._next_poll_at = -inf
        self._next_lookback_at = inf
        self._next_since: datetime | None = None
        self._in_flight = 0
        self._windows: list[PollWindow] = []

    def is_due(self) -> bool:
        """Return True if a poll is due. Each True is for one poll: the next is due later."""
        with self._lock:
            now = self._monotonic()
            if now < self._next_poll_at or self._in_flight >= MAX_CONCURRENT_POLLS:
                return False
            self._next_poll_at = now + (
                OVERLAPPED_POLL_INTERVAL if self._in_flight else POLL_INTERVAL
            )
            return True

    def begin(self, known_until: datetime, cloud_time: datetime, started_at: int) -> PollWindow:
        """Begin a poll. `cloud_time` is the current time of the cloud's clock.

        The first poll starts at `known_until`: the inventory has all changes up to then.
        """
        with self._lock:
            now = self._monotonic()
            is_first = self._next_since is None
            # a cloud that is slow anyway gets no lookback polls: the full sync finds the rest
            is_lookback = now >= self._next_lookback_at and not self._in_flight
            reach = SYNC_OVERLAP
            if is_first or is_lookback:
                reach = LOOKBACK
                self._next_lookback_at = now + LOOKBACK_INTERVAL
            window = PollWindow((self._next_since or known_until) - reach, started_at, is_lookback)
            self._in_flight += 1
            if is_lookback:
                self._next_poll_at = now
            else:
                self._next_since = cloud_time
                self._windows.append(window)
            return window

    def end(self, window: PollWindow) -> int | None:
        """End a poll. Return the new sync mark; None while an earlier poll is in progress."""
        with self._lock:
            self._in_flight -= 1
            window.done = True
            sync_mark = None
            while self._windows and self._windows[0].done:
                sync_mark = self._windows.pop(0).started_at
            return sync_mark

    def fail(self, window: PollWindow, pause: float = SYNC_BACKOFF) -> None:
        """End a poll that failed: the next one starts after a pause and covers its window.

        `pause` is in seconds.
        """
        with self._lock:
            self._in_flight -= 1
            self._next_poll_at = max(self._next_poll_at, self._monotonic() + pause)
            if not window.is_lookback:
                self._next_since = min(window.since, self._next_since or window.since)
                # the later polls have not covered the window of this one
                self._windows = [
                    earlier for earlier in self._windows if earlier.started_at < window.started_at
                ]
