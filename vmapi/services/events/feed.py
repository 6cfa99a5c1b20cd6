"""Listening to what happens: from now on, or from where somebody was told of last."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vmapi.domain.event import BATCH, Event, EventQuery
from vmapi.services.events.buffer import Tail
from vmapi.services.events.slots import Seats

if TYPE_CHECKING:
    from vmapi.store.events import EventLog

HEARTBEAT = 15.0
"""Seconds after which who was told of nothing is told that."""

LOOK = 0.25
"""Seconds after which it is found that a listener has gone, or is to go."""

NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Beat:
    """There is nothing to tell now; `number` is where to go on from later."""

    number: int


@dataclass(frozen=True, slots=True)
class Reset:
    """What was missed is not known: everything that is kept follows."""


class Events:
    """What happens, for those who listen. `log` is where it is kept.

    `draining` says that the process stops, `heartbeat` is in seconds.
    """

    def __init__(
        self,
        log: "Callable[[], EventLog]",
        seats: Seats,
        draining: Callable[[], bool],
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self.heartbeat = heartbeat
        self.draining = draining
        self._log = log
        self._seats = seats
        self._tail = Tail(log)

    def listen(self, wanted: EventQuery, caller: str, last: str | None) -> "Listener":
        """Listen from now on, or from after the event that was told last.

        Raises RateLimited, StoreUnavailable.
        """
        with ExitStack() as stack:
            self._seats.take(caller)
            stack.callback(self._seats.leave, caller)
            newest = self._tail.join()
            stack.callback(self._tail.leave)
            number = self._known(last) if last else newest
            held = stack.pop_all()
        return Listener(self, wanted, number, held)

    def after(self, number: int, wanted: EventQuery, seconds: float) -> tuple[Sequence[Event], int]:
        """Return what is asked for after a number, and up to which number that is all.

        Waits for so many seconds where there is nothing new. Raises StoreUnavailable.
        """
        newest = self._tail.behind(number)
        if newest is None:
            recent = self._tail.after(number, seconds)
            number = recent[-1].number if recent else number
            return [event for event in recent if wanted.takes(event)], number
        found = self._log().between(number, newest, wanted)
        return found, found[-1].number if len(found) == BATCH else newest

    def _known(self, last: str) -> int | None:
        number = int(last) if NUMBER.fullmatch(last) else 0
        return number if self._log().has(number) else None


class Listener:
    """One who listens; to be closed, whether it was told of anything or not.

    `number` is where it goes on from; None where that is not known.
    """

    def __init__(
        self, events: Events, wanted: EventQuery, number: int | None, held: ExitStack
    ) -> None:
        self._events = events
        self._wanted = wanted
        self._number = number
        self.close = held.close

    def told(self, there: Callable[[], bool]) -> Iterator[Event | Beat | Reset]:
        """Return what happens, for as long as the listener is there and the process serves.

        Raises StoreUnavailable.
        """
        number = self._number or 0
        yield Reset() if self._number is None else Beat(number)
        told = time.monotonic()
        while not self._events.draining() and there():
            found, number = self._events.after(number, self._wanted, LOOK)
            yield from found
            if found:
                told = time.monotonic()
            elif time.monotonic() - told >= self._events.heartbeat:
                yield Beat(number)
                told = time.monotonic()
