"""Stream events to clients: from now on, or after the last event that a client has.

The SSE view subscribes for each stream. The database holds the events for the retention time, the
buffer the newest ones. A stream yields each event once and in order of the sequence number. A
client that reconnects with a sequence number that is purged gets a `StreamReset` first.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmapi.domain.event import EVENT_BATCH, Event, EventQuery
from vmapi.services.events.buffer import EventBuffer
from vmapi.services.events.slots import StreamSlots

if TYPE_CHECKING:
    from vmapi.store.events import EventLog

STREAM_HEARTBEAT_INTERVAL = 15.0
"""Seconds of silence after which a stream sends a heartbeat."""

LIVENESS_INTERVAL = 0.25
"""Seconds between two checks that the client is connected and the process is not draining."""

SEQUENCE_PATTERN = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """No event, and the sequence number to resume after."""

    sequence: int


@dataclass(frozen=True, slots=True)
class StreamReset:
    """A gap: the events after the client's last one are purged. All that remain follow."""


StreamMessage = Event | Heartbeat | StreamReset
"""A message of a stream."""


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
        self._event_log = event_log
        self._slots = slots
        self._buffer = EventBuffer(event_log)

    def subscribe(
        self, query: EventQuery, caller: str, last_event_id: str | None
    ) -> "Subscription":
        """Subscribe a caller from now on, or from after `last_event_id`.

        Raises RateLimited if all slots are in use, StoreUnavailable.
        """
        with ExitStack() as stack:
            self._slots.acquire(caller)
            stack.callback(self._slots.release, caller)
            newest = self._buffer.subscribe()
            stack.callback(self._buffer.unsubscribe)
            sequence = self._resume_after(last_event_id) if last_event_id else newest
            resources = stack.pop_all()
        return Subscription(self, query, sequence, resources)

    def read_after(
        self, sequence: int, query: EventQuery, timeout: float
    ) -> tuple[Sequence[Event], int]:
        """Return the matching events after a sequence number, and the number that was read up to.

        Waits up to `timeout` seconds for a new event. Raises StoreUnavailable.
        """
        newest = self._buffer.newest_if_behind(sequence)
        if newest is None:
            recent = self._buffer.read_after(sequence, timeout)
            sequence = recent[-1].sequence if recent else sequence
            return [event for event in recent if query.matches(event)], sequence
        events = self._event_log().read_range(sequence, newest, query)
        return events, events[-1].sequence if len(events) == EVENT_BATCH else newest

    def _resume_after(self, last_event_id: str) -> int | None:
        sequence = int(last_event_id) if SEQUENCE_PATTERN.fullmatch(last_event_id) else 0
        return sequence if self._event_log().contains(sequence) else None


class Subscription:
    """The stream of one client. The caller closes it, even if it never reads from the stream.

    `sequence` is the number to resume after; None if the client's last event is purged.
    """

    def __init__(
        self, feed: EventFeed, query: EventQuery, sequence: int | None, resources: ExitStack
    ) -> None:
        self._feed = feed
        self._query = query
        self._sequence = sequence
        self.close = resources.close

    def stream(self, is_connected: Callable[[], bool]) -> Iterator[StreamMessage]:
        """Yield events until the client disconnects or the process drains.

        Raises StoreUnavailable.
        """
        sequence = self._sequence or 0
        yield StreamReset() if self._sequence is None else Heartbeat(sequence)
        last_sent_at = time.monotonic()
        while not self._feed.is_draining() and is_connected():
            events, sequence = self._feed.read_after(sequence, self._query, LIVENESS_INTERVAL)
            yield from events
            if events:
                last_sent_at = time.monotonic()
            elif time.monotonic() - last_sent_at >= self._feed.heartbeat_interval:
                yield Heartbeat(sequence)
                last_sent_at = time.monotonic()
