"""Limit the number of event streams: each one occupies a thread of the process."""

import threading

from vmapi.concurrency.slot_pool import CallerLimitReached, PoolExhausted, SlotPool
from vmapi.errors import RateLimited

STREAM_RETRY_AFTER = 5
"""Seconds after which a refused client may try again."""


class StreamSlots:
    """At most `total` streams in this process, and `per_caller` of one caller.

    These are the settings `VMAPI_EVENT_STREAMS` and `VMAPI_CALLER_STREAMS`.
    `capacity` is the semaphore that waiting requests share: some threads stay free for the others.
    """

    def __init__(self, capacity: threading.Semaphore, total: int, per_caller: int) -> None:
        self._total = total
        self._per_caller = per_caller
        self._pool = SlotPool(capacity, per_caller, total)

    def acquire(self, caller: str) -> None:
        """Acquire a slot for a caller. Raises RateLimited if none is free."""
        try:
            self._pool.acquire(caller)
        except CallerLimitReached:
            detail = f"You have {self._per_caller} open event streams, the maximum."
            raise RateLimited(detail, retry_after=STREAM_RETRY_AFTER) from None
        except PoolExhausted:
            detail = f"All slots are in use: at most {self._total} event streams are open here."
            raise RateLimited(detail, retry_after=STREAM_RETRY_AFTER) from None

    def release(self, caller: str) -> None:
        """Release a slot of a caller."""
        self._pool.release(caller)
