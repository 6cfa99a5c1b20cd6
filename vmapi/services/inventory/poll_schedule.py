"""Which looks at what has changed are under way, and from when on the next one has to look."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from threading import Lock

PERIOD = 1.0
"""Seconds between two looks."""

HASTE = 0.4
"""The same while a look takes so long that the next one is begun beside it."""

AT_ONCE = 4
"""Looks that may be under way."""

GRACE = timedelta(seconds=0.5)
"""By how much a look reaches back before the one before it began: hosts' clocks differ a little."""

SPAN = timedelta(seconds=16)
"""By how much it does so from time to time: what a host was late to write shows then."""

SPAN_EVERY = 15.0
"""Seconds between two that reach back so far."""

PAUSE = 2.0
"""Seconds for which a cloud that did not answer is left alone."""


@dataclass(eq=False, slots=True)
class Look:
    """A look at what has changed `since`, on the cloud's clock; it began then on the shared one.

    One that is `extra` shows what others have missed: nobody waits for it.
    """

    since: datetime
    begun: int
    extra: bool
    over: bool = False


class Course:
    """The looks of one process. Safe to use from several threads; `monotonic` is in seconds.

    Each begins where the one before it began, so that one which takes long holds up none: the
    cloud takes a while for each server that has changed.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = Lock()
        self._due = -inf
        self._extra_due = inf
        self._next: datetime | None = None
        self._flying = 0
        self._looks: list[Look] = []

    def is_due(self) -> bool:
        """Tell whether a look is to be begun now; who is told so begins it, or lets it be."""
        with self._lock:
            now = self._monotonic()
            if now < self._due or self._flying >= AT_ONCE:
                return False
            self._due = now + (HASTE if self._flying else PERIOD)
            return True

    def begin(self, known: datetime, present: datetime, begun: int) -> Look:
        """Begin a look; before the first one, everything is known up to a time.

        `present` is the cloud's time.
        """
        with self._lock:
            now = self._monotonic()
            # a cloud that is slow as it is is not asked for more: a sweep shows what was missed
            first, extra = self._next is None, now >= self._extra_due and not self._flying
            if first or extra:
                self._extra_due = now + SPAN_EVERY
            look = Look((self._next or known) - (SPAN if first or extra else GRACE), begun, extra)
            self._flying += 1
            if extra:
                self._due = now
            else:
                self._next = present
                self._looks.append(look)
            return look

    def end(self, look: Look) -> int | None:
        """Return up to when all changes are known by now; None while an older look has no end."""
        with self._lock:
            self._flying -= 1
            look.over = True
            known = None
            while self._looks and self._looks[0].over:
                known = self._looks.pop(0).begun
            return known

    def fail(self, look: Look) -> None:
        """Have the next look begin where this one did, in a while."""
        with self._lock:
            self._flying -= 1
            self._due = self._monotonic() + PAUSE
            if not look.extra:
                self._next = min(look.since, self._next or look.since)
                # what came of those after it proves nothing
                self._looks = [each for each in self._looks if each.begun < look.begun]
