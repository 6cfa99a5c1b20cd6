"""The newest events, read once for all who listen in this process."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

import structlog

from vmapi.domain.event import EVENT_BATCH, Event
from vmapi.errors import StoreUnavailable

if TYPE_CHECKING:
    from vmapi.store.events import EventLog

log = structlog.get_logger("vmapi.events")

EVENT_POLL_INTERVAL = 0.2
"""Seconds between two looks for new events."""

EVENT_READ_BACKOFF = 2.0
"""Seconds for which a database that does not answer is left alone."""

EVENT_BUFFER_SIZE = 1000
"""Events that are kept in memory: who is further behind reads them from the database."""


class EventBuffer:
    """Reads new events for as long as somebody listens. `events` is where they are kept."""

    def __init__(self, event_log: "Callable[[], EventLog]") -> None:
        self._event_log = event_log
        self._updated = threading.Condition()
        self._subscribers = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._recent: deque[Event] = deque()
        self._evicted_until = 0
        self._newest = 0

    def subscribe(self) -> int:
        """Begin to listen; return the number of the newest event. Raises StoreUnavailable."""
        events = self._event_log()
        newest = events.assign_sequences()
        with self._updated:
            self._subscribers += 1
            if self._thread is None:
                self._recent.clear()
                self._evicted_until = self._newest = newest
                self._stop = threading.Event()
                self._thread = threading.Thread(
                    target=self._run, args=(events, self._stop), name="events", daemon=True
                )
                self._thread.start()
        return newest

    def unsubscribe(self) -> None:
        """Listen no longer."""
        with self._updated:
            self._subscribers -= 1
            if self._subscribers:
                return
            thread, self._thread = self._thread, None
            self._stop.set()
        if thread is not None:
            thread.join()

    def newest_if_behind(self, sequence: int) -> int | None:
        """Return the newest number where not all events after this one are in memory, else None."""
        with self._updated:
            return self._newest if sequence < self._evicted_until else None

    def read_after(self, sequence: int, timeout: float) -> Sequence[Event]:
        """Return the events in memory after a number, once there are some or the time is up."""
        with self._updated:
            self._updated.wait_for(lambda: self._newest > sequence, timeout)
            if sequence < self._evicted_until:
                return []
            later = takewhile(lambda event: event.sequence > sequence, reversed(self._recent))
            return list(later)[::-1]

    def _run(self, event_log: "EventLog", stop: threading.Event) -> None:
        pause = 0.0
        while not stop.wait(pause):
            try:
                pause = (
                    0.0 if self._read_new(event_log, stop) == EVENT_BATCH else EVENT_POLL_INTERVAL
                )
            except StoreUnavailable as away:
                log.warning("events have to wait", reason=away.detail)
                pause = EVENT_READ_BACKOFF
            except Exception:
                log.exception("events stumbled")
                pause = EVENT_READ_BACKOFF

    def _read_new(self, event_log: "EventLog", stop: threading.Event) -> int:
        if event_log.assign_sequences() <= self._newest:
            return 0
        found = event_log.read_after(self._newest)
        with self._updated:
            if found and not stop.is_set():
                self._recent.extend(found)
                while len(self._recent) > EVENT_BUFFER_SIZE:
                    self._evicted_until = self._recent.popleft().sequence
                self._newest = found[-1].sequence
                self._updated.notify_all()
        return len(found)
