"""Limit the number of event streams: each one occupies a thread of the process."""

import threading
from collections import Counter

from vmapi.errors import RateLimited

STREAM_RETRY_AFTER = 5
"""Seconds after which a refused client may try again."""


class StreamSlots:
    """At most `total` streams in this process, and `per_caller` of one caller.

    `slots` is the semaphore that waiting requests share: some threads stay free for the others.
    """

    def __init__(self, slots: threading.Semaphore, total: int, per_caller: int) -> None:
        self._slots = slots
        self._total = total
        self._per_caller = per_caller
        self._lock = threading.Lock()
        self._used: Counter[str] = Counter()

    def acquire(self, caller: str) -> None:
        """Acquire a slot for a caller. Raises RateLimited if none is free."""
        with self._lock:
            if self._used[caller] >= self._per_caller:
                detail = f"You have {self._per_caller} open event streams, the maximum."
                raise RateLimited(detail, retry_after=STREAM_RETRY_AFTER)
            is_full = self._used.total() >= self._total
            if is_full or not self._slots.acquire(blocking=False):
                detail = f"All slots are in use: at most {self._total} event streams are open here."
                raise RateLimited(detail, retry_after=STREAM_RETRY_AFTER)
            self._used[caller] += 1

    def release(self, caller: str) -> None:
        """Release a slot of a caller."""
        with self._lock:
            self._used[caller] -= 1
            # drops the callers without a slot
            self._used += Counter()
        self._slots.release()
