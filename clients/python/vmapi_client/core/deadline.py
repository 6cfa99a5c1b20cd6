"""Deadlines and pauses."""

import random
import time
from collections.abc import Callable, Iterator

from vmapi_client.errors import DeadlineExceeded

Clock = Callable[[], float]

_random = random.SystemRandom()

MAX_TIMEOUT_SECONDS = 23 * 3600
"""The longest deadline: vmapi forgets an idempotency key after 24 hours."""

MAX_DURATION_SECONDS = 5200 * 604800
"""The longest time of a stream, in seconds: 5,200 weeks."""

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 5.0


class Deadline:
    """The time until which a call may take, or all calls of a client together.

    Raises ValueError for a timeout out of range.
    """

    def __init__(
        self,
        seconds: float,
        clock: Clock = time.monotonic,
        longest: float = MAX_TIMEOUT_SECONDS,
    ) -> None:
        if not 0 < seconds <= longest:
            raise ValueError(f"timeout is {seconds:g}: it is above 0 and up to 23 hours (82800 s)")
        self.seconds = seconds
        """The timeout, in messages."""
        self._clock = clock
        self._end = clock() + seconds

    @property
    def remaining(self) -> float:
        """Seconds until the deadline; 0 after it."""
        return max(0.0, self._end - self._clock())

    def limit(self, seconds: float | None, clock: Clock) -> "Deadline":
        """Return the deadline of one call: after so many seconds, but not after this one.

        Raises DeadlineExceeded after this deadline.
        """
        remaining = self.remaining
        if remaining == 0:
            raise DeadlineExceeded(f"The time of all calls together, {self.seconds:g} s, is spent.")
        if seconds is not None and not seconds >= remaining:
            return Deadline(seconds, clock)
        limited = Deadline(remaining, clock)
        limited.seconds = self.seconds
        return limited


def growing_pauses(
    first: float = FIRST_PAUSE_SECONDS, longest: float = LONGEST_PAUSE_SECONDS
) -> Iterator[float]:
    """Yield pauses in seconds that grow up to a limit, with a random part."""
    pause = first
    while True:
        yield pause * _random.uniform(0.75, 1.25)
        pause = min(pause * 2, longest)
