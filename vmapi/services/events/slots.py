"""Who may listen to events: each listener holds a thread of the process."""

import threading
from collections import Counter

from vmapi.errors import RateLimited

STREAM_RETRY_AFTER = 5
"""Seconds after which it is worth while to ask again."""


class StreamSlots:
    """At most `most` listeners in this process, and `each` of one caller.

    `places` are those who wait for operations have too: together they leave threads for the others.
    """

    def __init__(self, slots: threading.Semaphore, total: int, per_caller: int) -> None:
        self._slots = slots
        self._total = total
        self._per_caller = per_caller
        self._lock = threading.Lock()
        self._used: Counter[str] = Counter()

    def acquire(self, caller: str) -> None:
        """Give a caller a seat. Raises RateLimited."""
        with self._lock:
            if self._used[caller] >= self._per_caller:
                detail = f"You have {self._per_caller} event streams open, the most you may."
                raise RateLimited(detail, retry_after=STREAM_RETRY_AFTER)
            full = self._used.total() >= self._total
            if full or not self._slots.acquire(blocking=False):
                detail = f"All places are taken; at most {self._total} event streams are open here."
                raise RateLimited(detail, retry_after=STREAM_RETRY_AFTER)
            self._used[caller] += 1

    def release(self, caller: str) -> None:
        """Take a seat back."""
        with self._lock:
            self._used[caller] -= 1
            self._used += Counter()
        self._slots.release()
