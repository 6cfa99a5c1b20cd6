"""The newest events, read once for all who listen in this process."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

import structlog

from vmapi.domain.event import BATCH, Event
from vmapi.errors import StoreUnavailable

if TYPE_CHECKING:
    from vmapi.store.events import EventLog

log = structlog.get_logger("vmapi.events")

POLL = 0.2
"""Seconds between two looks for new events."""

PAUSE = 2.0
"""Seconds for which a database that does not answer is left alone."""

KEPT = 1000
"""Events that are kept in memory: who is further behind reads them from the database."""


class Tail:
    """Reads new events for as long as somebody listens. `events` is where they are kept."""

    def __init__(self, events: "Callable[[], EventLog]") -> None:
        self._events = events
        self._moved = threading.Condition()
        self._listeners = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._recent: deque[Event] = deque()
        self._before = 0
        self._newest = 0

    def join(self) -> int:
        """Begin to listen; return the number of the newest event. Raises StoreUnavailable."""
        events = self._events()
        newest = events.number()
        with self._moved:
            self._listeners += 1
            if self._thread is None:
                self._recent.clear()
                self._before = self._newest = newest
                self._stop = threading.Event()
                self._thread = threading.Thread(
                    target=self._run, args=(events, self._stop), name="events", daemon=True
                )
                self._thread.start()
        return newest

    def leave(self) -> None:
        """Listen no longer."""
        with self._moved:
            self._listeners -= 1
            if self._listeners:
                return
            thread, self._thread = self._thread, None
            self._stop.set()
        if thread is not None:
            thread.join()

    def behind(self, number: int) -> int | None:
        """Return the newest number where not all events after this one are in memory, else None."""
        with self._moved:
            return self._newest if number < self._before else None

    def after(self, number: int, seconds: float) -> Sequence[Event]:
        """Return the events in memory after a number, once there are some or the time is up."""
        with self._moved:
            self._moved.wait_for(lambda: self._newest > number, seconds)
            if number < self._before:
                return []
            later = takewhile(lambda event: event.number > number, reversed(self._recent))
            return list(later)[::-1]

    def _run(self, events: "EventLog", stop: threading.Event) -> None:
        pause = 0.0
        while not stop.wait(pause):
            try:
                pause = 0.0 if self._look(events, stop) == BATCH else POLL
            except StoreUnavailable as away:
                log.warning("events have to wait", reason=away.detail)
                pause = PAUSE
            except Exception:
                log.exception("events stumbled")
                pause = PAUSE

    def _look(self, events: "EventLog", stop: threading.Event) -> int:
        if events.number() <= self._newest:
            return 0
        found = events.after(self._newest)
        with self._moved:
            if found and not stop.is_set():
                self._recent.extend(found)
                while len(self._recent) > KEPT:
                    self._before = self._recent.popleft().number
                self._newest = found[-1].number
                self._moved.notify_all()
        return len(found)
