"""Buffer the newest events in memory: one thread reads them for all streams of the process."""

import threading
from bisect import bisect_right
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

import structlog

from vmapi.domain.event import EVENT_BATCH, Event, EventQuery
from vmapi.errors import StoreUnavailable
from vmapi.services.events.batch import EventBatch, TextBudget

if TYPE_CHECKING:
    from vmapi.store.events import EventLog

log = structlog.get_logger("vmapi.events")

EVENT_POLL_INTERVAL = 0.2
"""Seconds between two queries for new events."""

EVENT_READ_BACKOFF = 2.0
"""Seconds without a query after a failure."""

EVENT_BUFFER_SIZE = 1000
"""Events in memory. A stream that is further behind reads from the database."""

STREAM_BATCH = 100
"""Events that a stream reads at once."""

MAX_SHARED_BATCHES = 256

SEQUENCE = attrgetter("sequence")


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
        self._listeners: set[Callable[[], None]] = set()
        self._stop = threading.Event()
        self._recent: list[Event] = []
        #: The buffer has all events after this sequence number.
        self._evicted_until = 0
        self._newest = 0
        self._batches: dict[tuple[int, EventQuery], EventBatch] = {}
        self._text_budget = TextBudget()

    def subscribe(self) -> int:
        """Add a subscriber; return the newest sequence number. Raises StoreUnavailable."""
        event_log = self._event_log()
        newest = event_log.assign_sequences()
        with self._updated:
            if not self._subscribers:
                self._recent = []
                self._forget_batches()
                self._evicted_until = self._newest = newest
                self._stop = threading.Event()
                threading.Thread(
                    target=self._run, args=(event_log, self._stop), name="event-reader", daemon=True
                ).start()
            # last: without a free thread, the next subscriber starts it
            self._subscribers += 1
        return newest

    def unsubscribe(self) -> None:
        """Remove a subscriber; the last one stops the thread, without waiting for it."""
        with self._updated:
            self._subscribers -= 1
            if not self._subscribers:
                self._listeners = set()
                self._stop.set()

    def add_listener(self, on_events: Callable[[], None]) -> None:
        """Call a function after each read of new events, until the last subscriber leaves."""
        with self._updated:
            self._listeners.add(on_events)

    def newest_if_behind(self, sequence: int) -> int | None:
        """Return the newest sequence number if events after `sequence` are missing, else None."""
        with self._updated:
            return self._newest if sequence < self._evicted_until else None

    def wait_for_newer(self, sequence: int, timeout: float) -> None:
        """Wait up to `timeout` seconds for an event after `sequence`."""
        with self._updated:
            self._updated.wait_for(lambda: self._newest > sequence, timeout)

    def read(self, sequence: int, query: EventQuery) -> EventBatch | None:
        """Return the next buffered events after `sequence`; None if some are missing here."""
        with self._updated:
            if sequence < self._evicted_until:
                return None
            if sequence >= self._newest:
                return EventBatch((), sequence)
            if len(self._batches) >= MAX_SHARED_BATCHES:
                self._forget_batches()
            key = (sequence, query)
            if key not in self._batches:
                self._batches[key] = self._select(sequence, query)
            return self._batches[key]

    def _select(self, sequence: int, query: EventQuery) -> EventBatch:
        position = bisect_right(self._recent, sequence, key=SEQUENCE)
        selected: list[Event] = []
        while position < len(self._recent) and len(selected) < STREAM_BATCH:
            if query.matches(event := self._recent[position]):
                selected.append(event)
            position += 1
        return EventBatch(selected, self._recent[position - 1].sequence, self._text_budget)

    def _forget_batches(self) -> None:
        self._batches, self._text_budget = {}, TextBudget()

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
                # a stopped reader may find the database closed
                if not stop.is_set():
                    log.exception("event reader failed")
                pause = self._backoff

    def _read_new(self, event_log: "EventLog", stop: threading.Event) -> int:
        if event_log.assign_sequences() <= self._newest:
            return 0
        events = event_log.read_after(self._newest)
        with self._updated:
            if not events or stop.is_set():
                return 0
            self._append(events)
            listeners = tuple(self._listeners)
        for notify in listeners:
            notify()
        return len(events)

    def _append(self, events: Sequence[Event]) -> None:
        self._recent.extend(events)
        if len(self._recent) > self._size:
            self._evicted_until = self._recent[-self._size - 1].sequence
            del self._recent[: -self._size]
        self._newest = events[-1].sequence
        self._forget_batches()
        self._updated.notify_all()
