"""Listening to what happens: from now on, or from where somebody was told of last."""

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
"""Seconds after which who was told of nothing is told that."""

LIVENESS_INTERVAL = 0.25
"""Seconds after which it is found that a listener has gone, or is to go."""

SEQUENCE_PATTERN = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """There is nothing to tell now; `number` is where to go on from later."""

    sequence: int


@dataclass(frozen=True, slots=True)
class StreamReset:
    """What was missed is not known: everything that is kept follows."""


class EventFeed:
    """What happens, for those who listen. `log` is where it is kept.

    `draining` says that the process stops, `heartbeat` is in seconds.
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
        """Listen from now on, or from after the event that was told last.

        Raises RateLimited, StoreUnavailable.
        """
        with ExitStack() as stack:
            self._slots.acquire(caller)
            stack.callback(self._slots.release, caller)
            newest = self._buffer.subscribe()
            stack.callback(self._buffer.unsubscribe)
            number = self._resume_after(last_event_id) if last_event_id else newest
            held = stack.pop_all()
        return Subscription(self, query, number, held)

    def read_after(
        self, sequence: int, query: EventQuery, timeout: float
    ) -> tuple[Sequence[Event], int]:
        """Return what is asked for after a number, and up to which number that is all.

        Waits for so many seconds where there is nothing new. Raises StoreUnavailable.
        """
        newest = self._buffer.newest_if_behind(sequence)
        if newest is None:
            recent = self._buffer.read_after(sequence, timeout)
            sequence = recent[-1].sequence if recent else sequence
            return [event for event in recent if query.matches(event)], sequence
        found = self._event_log().read_range(sequence, newest, query)
        return found, found[-1].sequence if len(found) == EVENT_BATCH else newest

    def _resume_after(self, last_event_id: str) -> int | None:
        number = int(last_event_id) if SEQUENCE_PATTERN.fullmatch(last_event_id) else 0
        return number if self._event_log().contains(number) else None


class Subscription:
    """One who listens; to be closed, whether it was told of anything or not.

    `number` is where it goes on from; None where that is not known.
    """

    def __init__(
        self, feed: EventFeed, query: EventQuery, sequence: int | None, resources: ExitStack
    ) -> None:
        self._feed = feed
        self._query = query
        self._sequence = sequence
        self.close = resources.close

    def stream(self, is_connected: Callable[[], bool]) -> Iterator[Event | Heartbeat | StreamReset]:
        """Return what happens, for as long as the listener is there and the process serves.

        Raises StoreUnavailable.
        """
        number = self._sequence or 0
        yield StreamReset() if self._sequence is None else Heartbeat(number)
        told = time.monotonic()
        while not self._feed.is_draining() and is_connected():
            found, number = self._feed.read_after(number, self._query, LIVENESS_INTERVAL)
            yield from found
            if found:
                told = time.monotonic()
            elif time.monotonic() - told >= self._feed.heartbeat_interval:
                yield Heartbeat(number)
                told = time.monotonic()
