"""Limit concurrency: a pool of slots with a limit for each caller (a bulkhead).

Waiting requests and event streams have a pool each. Pools of requests that hold a thread take their
slots from one semaphore, so that together they leave threads for all other requests.
"""

import threading
from collections import Counter
from math import inf


class NoFreeSlot(Exception):
    """The pool refuses a slot."""


class CallerLimitReached(NoFreeSlot):
    """The caller has as many slots as one caller may have."""


class PoolExhausted(NoFreeSlot):
    """All slots are in use."""


class SlotPool:
    """A pool with at most `total` slots, and `per_caller` slots of one caller.

    With a `capacity`, which other pools may share, each slot takes one from it.
    """

    def __init__(
        self,
        per_caller: float = inf,
        total: float = inf,
        capacity: threading.Semaphore | None = None,
    ) -> None:
        self._per_caller = per_caller
        self.total = total
        self._capacity = capacity
        self._lock = threading.Lock()
        self._used: Counter[str] = Counter()

    @property
    def used(self) -> int:
        """The number of slots in use."""
        with self._lock:
            return self._used.total()

    def acquire(self, caller: str) -> None:
        """Acquire a slot without waiting. Raises CallerLimitReached, PoolExhausted."""
        with self._lock:
            if self._used[caller] >= self._per_caller:
                raise CallerLimitReached
            if self._used.total() >= self.total or not self._take_capacity():
                raise PoolExhausted
            self._used[caller] += 1

    def release(self, caller: str) -> None:
        """Release a slot of a caller."""
        with self._lock:
            self._used[caller] -= 1
            # drops the callers without a slot
            self._used += Counter()
        if self._capacity is not None:
            self._capacity.release()

    def _take_capacity(self) -> bool:
        return self._capacity is None or self._capacity.acquire(blocking=False)
