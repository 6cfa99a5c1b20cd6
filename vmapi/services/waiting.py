"""Holding an answer back until an operation is over."""

import threading
import time
from collections.abc import Callable

from vmapi.models.operation import Operation

POLL = 0.25
"""Seconds between two looks at an operation that another process may be carrying on."""


class Waiting:
    """At most `places` threads wait at a time, or listen to events; the others are not kept.

    `get` looks an operation up; nobody is kept once `draining` says that the process stops.
    """

    def __init__(
        self, get: Callable[[str], Operation], places: int, draining: Callable[[], bool]
    ) -> None:
        self._get = get
        self.places = threading.Semaphore(places)
        self._draining = draining
        self._moved = threading.Condition()

    def moved(self) -> None:
        """Say that an operation of this process has moved on."""
        with self._moved:
            self._moved.notify_all()

    def until(
        self, operation: Operation, enough: Callable[[Operation], bool], seconds: float
    ) -> Operation:
        """Return the operation once it is enough, or as it is when the time or the place is up."""
        if enough(operation) or not self.places.acquire(blocking=False):
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
            self.places.release()
