"""Holding an answer back until an operation is over."""

import threading
import time
from collections import Counter
from collections.abc import Callable

from vmapi.domain.operation import Operation

POLL = 0.25
"""Seconds between two looks at an operation that another process may be carrying on."""


class Waiting:
    """At most `places` threads wait at a time, or listen to events; the others are not kept.

    Of one caller, at most `each` wait. `get` looks an operation up; nobody is kept once `draining`
    says that the process stops.
    """

    def __init__(
        self, get: Callable[[str], Operation], places: int, each: int, draining: Callable[[], bool]
    ) -> None:
        self._get = get
        self.places = threading.Semaphore(places)
        self._each = each
        self._draining = draining
        self._moved = threading.Condition()
        self._lock = threading.Lock()
        self._kept: Counter[str] = Counter()

    def moved(self) -> None:
        """Say that an operation of this process has moved on."""
        with self._moved:
            self._moved.notify_all()

    def until(
        self,
        operation: Operation,
        enough: Callable[[Operation], bool],
        seconds: float,
        caller: str | None = None,
    ) -> Operation:
        """Return the operation once it is enough, or as it is when the time or the place is up.

        Who waits is the `caller`; unless one is named, who asked for the operation.
        """
        who = caller or operation.requested_by
        if enough(operation) or not self._take(who):
            return operation
        try:
            end = time.monotonic() + seconds
            while not enough(operation) and not self._draining():
                left = end - time.monotonic()
                if left <= 0:
                    break
                with self._moved:
                    self._moved.wait(min(POLL, left))
                operation = self._get(operation.id)
            return operation
        finally:
            self._leave(who)

    def _take(self, caller: str) -> bool:
        with self._lock:
            if self._kept[caller] >= self._each or not self.places.acquire(blocking=False):
                return False
            self._kept[caller] += 1
            return True

    def _leave(self, caller: str) -> None:
        with self._lock:
            self._kept[caller] -= 1
            self._kept += Counter()
        self.places.release()
