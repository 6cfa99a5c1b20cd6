"""Follow the events of the event log: from now on, or after the last event that a client has.

The SSE view subscribes for each stream. The database holds the events for the retention time, the
buffer the newest ones. A stream reads each event once and in order of the sequence number. A
client that reconnects with a sequence number that is purged starts over with the oldest event.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmapi.concurrency.nonblocking import WouldBlock
from vmapi.domain.event import Event, EventQuery
from vmapi.services.events.batch import EventBatch
from vmapi.services.events.buffer import STREAM_BATCH, EventBuffer
from vmapi.services.events.slots import StreamSlots

if TYPE_CHECKING:
    from vmapi.store.events import EventLog

STREAM_HEARTBEAT_INTERVAL = 15.0
"""Seconds of silence after which a stream sends a heartbeat."""

SEQUENCE_PATTERN = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class EventPage:
    """Stored events in order. `last` is the sequence number to continue after."""

    events: Sequence[Event]
    last: int
    has_more: bool
    is_continued: bool
    """Whether the page follows an event."""


class EventFeed:
    """The source of event streams.

    `event_log` opens the event log on first use. `is_draining` returns True once the process
    stops.
    """

    def __init__(
        self,
        event_log: "Callable[[], EventLog]",
        slots: StreamSlots,
        is_draining: Callable[[], bool],
        heartbeat_interval: float = STREAM_HEARTBEAT_INTERVAL,
    ) -> None:
        self.heartbeat_interval = heartbeat_interval
        self.is_draining = is_draining
        self.slots = slots
        self._event_log = event_log
        self.buffer = EventBuffer(event_log)

    def subscribe(
        self, query: EventQuery, caller: str, last_event_id: str | None, *, holds_thread: bool
    ) -> "Subscription":
        """Subscribe a caller from now on, or from after `last_event_id`.

        Raises RateLimited if all slots are in use, StoreUnavailable.
        """
        with ExitStack() as stack:
            self.slots.acquire(caller, holds_thread=holds_thread)
            stack.callback(self.slots.release, caller, holds_thread=holds_thread)
            newest = self.buffer.subscribe()
            stack.callback(self.buffer.unsubscribe)
            sequence = self._resume_after(last_event_id) if last_event_id else newest
            resources = stack.pop_all()
        return Subscription(self, query, sequence, resources)

    def read_stored(self, sequence: int, query: EventQuery) -> EventBatch | None:
        """Read the next matching events after a sequence number from the database.

        Returns None if the buffer has them. Raises StoreUnavailable.
        """
        newest = self.buffer.newest_if_behind(sequence)
        if newest is None:
            return None
        events = self._event_log().read_range(sequence, newest, query, STREAM_BATCH)
        return EventBatch(events, events[-1].sequence if len(events) == STREAM_BATCH else newest)

    def read_page(
        self, query: EventQuery, last_event_id: str | None, limit: int
    ) -> EventPage | None:
        """Return stored events after one, or from the oldest on, in order.

        Returns None if that event is not stored. Raises StoreUnavailable.
        """
        event_log = self._event_log()
        newest = event_log.assign_sequences()
        sequence = 0 if last_event_id is None else self._resume_after(last_event_id)
        if sequence is None:
            return None
        events = event_log.read_range(sequence, newest, query, limit + 1)
        page, has_more = events[:limit], len(events) > limit
        last = page[-1].sequence if has_more else newest
        return EventPage(page, last, has_more=has_more, is_continued=sequence > 0)

    def _resume_after(self, last_event_id: str) -> int | None:
        sequence = int(last_event_id) if SEQUENCE_PATTERN.fullmatch(last_event_id) else 0
        return sequence if self._event_log().contains(sequence) else None


class Subscription:
    """The position of one stream. The stream closes it, even if it never reads.

    `sequence` is the number to resume after. `is_reset` says that the client's last event is
    purged: all stored events follow.
    """

    def __init__(
        self, feed: EventFeed, query: EventQuery, sequence: int | None, resources: ExitStack
    ) -> None:
        self._feed = feed
        self._query = query
        self.is_reset = sequence is None
        self.sequence = sequence or 0
        self._stored: EventBatch | None = None
        self.close = resources.close
        self.add_listener = feed.buffer.add_listener

    def read(self) -> EventBatch:
        """Return the next events in memory, and move behind them.

        Raises WouldBlock if they have to be loaded.
        """
        batch, self._stored = self._stored, None
        batch = batch or self._feed.buffer.read(self.sequence, self._query)
        if batch is None:
            raise WouldBlock
        self.sequence = batch.last
        return batch

    def load(self) -> None:
        """Load the next events from the database if the buffer lacks them.

        Raises StoreUnavailable.
        """
        self._stored = self._feed.read_stored(self.sequence, self._query)

    def wait(self, seconds: float) -> None:
        """Wait for a new event."""
        self._feed.buffer.wait_for_newer(self.sequence, seconds)
