"""Buffer the newest events in memory: one thread reads them for all streams of the process."""

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
"""Seconds between two queries for new events."""

EVENT_READ_BACKOFF = 2.0
"""Seconds without a query after a failure."""

EVENT_BUFFER_SIZE = 1000
"""Events in memory. A stream that is further behind reads from the database."""


class EventBuffer:
    """A ring buffer of events. Its thread runs while there are subscribers.

    `event_log` opens the event log on first use.
    """

    def __init__(
        self,
        event_log: "Callable[[], EventLog]",
        *,
        size: int = EVENT_BUFFER_SIZE,
        poll_interval: float = EVENT_POLL_INTERVAL,
        backoff: float = EVENT_READ_BACKOFF,
    ) -> None:
        self._event_log = event_log
        self._size = size
        self._poll_interval = poll_interval
        self._backoff = backoff
        self._updated = threading.Condition()
        self._subscribers = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._recent: deque[Event] = deque()
        #: The buffer has all events after this sequence number.
        self._evicted_until = 0
        self._newest = 0

    def subscribe(self) -> int:
        """Add a subscriber; return the newest sequence number. Raises StoreUnavailable."""
        event_log = self._event_log()
        newest = event_log.assign_sequences()
        with self._updated:
            self._subscribers += 1
            if self._thread is None:
                self._recent.clear()
                self._evicted_until = self._newest = newest
                self._stop = threading.Event()
                self._thread = threading.Thread(
                    target=self._run, args=(event_log, self._stop), name="event-reader", daemon=True
                )
                self._thread.start()
        return newest

    def unsubscribe(self) -> None:
        """Remove a subscriber; the last one stops the thread."""
        with self._updated:
            self._subscribers -= 1
            if self._subscribers:
                return
            thread, self._thread = self._thread, None
            self._stop.set()
        if thread is not None:
            thread.join()

    def newest_if_behind(self, sequence: int) -> int | None:
        """Return the newest sequence number if events after `sequence` are missing, else None."""
        with self._updated:
            return self._newest if sequence < self._evicted_until else None

    def read_after(self, sequence: int, timeout: float) -> Sequence[Event]:
        """Return the buffered events after `sequence`; wait up to `timeout` seconds for one."""
        with self._updated:
            self._updated.wait_for(lambda: self._newest > sequence, timeout)
            if sequence < self._evicted_until:
                return []
            newer = takewhile(lambda event: event.sequence > sequence, reversed(self._recent))
            return list(newer)[::-1]

    def _run(self, event_log: "EventLog", stop: threading.Event) -> None:
        pause = 0.0
        while not stop.wait(pause):
            try:
                is_full_batch = self._read_new(event_log, stop) == EVENT_BATCH
                pause = 0.0 if is_full_batch else self._poll_interval
            except StoreUnavailable as error:
                log.debug("event reader paused", reason=error.detail)
                pause = self._backoff
            except Exception:
                log.exception("event reader failed")
                pause = self._backoff

    def _read_new(self, event_log: "EventLog", stop: threading.Event) -> int:
        if event_log.assign_sequences() <= self._newest:
            return 0
        events = event_log.read_after(self._newest)
        with self._updated:
            if events and not stop.is_set():
                self._recent.extend(events)
                while len(self._recent) > self._size:
                    self._evicted_until = self._recent.popleft().sequence
                self._newest = events[-1].sequence
                self._updated.notify_all()
        return len(events)
