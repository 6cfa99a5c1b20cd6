"""Who may listen to events: each listener holds a thread of the process."""

import threading
from collections import Counter

from vmapi.errors import RateLimited

LATER = 5
"""Seconds after which it is worth while to ask again."""


class Seats:
    """At most `most` listeners in this process, and `each` of one caller.

    `places` are those who wait for operations have too: together they leave threads for the others.
    """

    def __init__(self, places: threading.Semaphore, most: int, each: int) -> None:
        self._places = places
        self._most = most
        self._each = each
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    def take(self, caller: str) -> None:
        """Give a caller a seat. Raises RateLimited."""
        with self._lock:
            if self._taken[caller] >= self._each:
                detail = f"You have {self._each} event streams open, the most you may."
                raise RateLimited(detail, retry_after=LATER)
            full = self._taken.total() >= self._most
            if full or not self._places.acquire(blocking=False):
                detail = f"All places are taken; at most {self._most} event streams are open here."
                raise RateLimited(detail, retry_after=LATER)
            self._taken[caller] += 1

    def leave(self, caller: str) -> None:
        """Take a seat back."""
        with self._lock:
            self._taken[caller] -= 1
            self._taken += Counter()
        self._places.release()
