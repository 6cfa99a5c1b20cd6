"""Deadlines and pauses."""

import random
import time
from collections.abc import Callable, Iterator

Clock = Callable[[], float]

_random = random.SystemRandom()

MAX_TIMEOUT_SECONDS = 23 * 3600
"""The longest deadline: vmapi forgets an idempotency key after 24 hours."""

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 5.0


class Deadline:
    """The time until which a call may take. Raises ValueError for a timeout out of range."""

    def __init__(self, seconds: float, clock: Clock = time.monotonic) -> None:
        if not 0 < seconds <= MAX_TIMEOUT_SECONDS:
            raise ValueError(f"timeout is {seconds:g}: it is above 0 and up to 23 hours (82800 s)")
        self.seconds = seconds
        self._clock = clock
        self._end = clock() + seconds

    @property
    def remaining(self) -> float:
        """Seconds until the deadline; 0 after it."""
        return max(0.0, self._end - self._clock())


def growing_pauses(
    first: float = FIRST_PAUSE_SECONDS, longest: float = LONGEST_PAUSE_SECONDS
) -> Iterator[float]:
    """Yield pauses in seconds that grow up to a limit, with a random part."""
    pause = first
    while True:
        yield pause * _random.uniform(0.75, 1.25)
        pause = min(pause * 2, longest)
