"""Limit the number of event streams: each one occupies a connection, and maybe a thread."""

import threading

from vmapi.concurrency.slot_pool import CallerLimitReached, PoolExhausted, SlotPool
from vmapi.errors import RateLimited
from vmapi.telemetry.metrics.catalog import EVENT_STREAMS, REFUSED_EVENT_STREAMS

STREAM_RETRY_AFTER = 5
"""Seconds after which a refused client may try again."""


class StreamSlots:
    """At most `total` streams in this process, and `per_caller` of one caller.

    These are the settings `VMAPI_EVENT_STREAMS` and `VMAPI_CALLER_STREAMS`. Some servers need a
    thread for each stream. There, at most `thread_count` streams are open. They take their threads
    from the semaphore `threads`, which waiting requests share: the other threads stay free.
    """

    def __init__(
        self, total: int, per_caller: int, threads: threading.Semaphore, thread_count: int
    ) -> None:
        self._per_caller = per_caller
        self._pool = SlotPool(per_caller, total)
        self._thread_count = min(total, thread_count)
        self._thread_pool = SlotPool(total=self._thread_count, capacity=threads)

    def limit(self, total: int) -> None:
        """Lower the number of streams of this process."""
        self._pool.total = min(self._pool.total, total)

    def acquire(self, caller: str, *, holds_thread: bool) -> None:
        """Acquire a slot for a caller. Raises RateLimited if none is free."""
        try:
            self._pool.acquire(caller)
        except CallerLimitReached:
            REFUSED_EVENT_STREAMS.increment("caller")
            detail = f"You have {self._per_caller} open event streams, the maximum."
            raise RateLimited(detail, retry_after=STREAM_RETRY_AFTER) from None
        except PoolExhausted:
            raise self._refuse(self._pool.total) from None
        if holds_thread:
            self._acquire_thread(caller)
        EVENT_STREAMS.set(self._pool.used)

    def release(self, caller: str, *, holds_thread: bool) -> None:
        """Release a slot of a caller."""
        if holds_thread:
            self._thread_pool.release(caller)
        self._pool.release(caller)
        EVENT_STREAMS.set(self._pool.used)

    def _acquire_thread(self, caller: str) -> None:
        try:
            self._thread_pool.acquire(caller)
        except PoolExhausted:
            self._pool.release(caller)
            raise self._refuse(self._thread_count) from None

    def _refuse(self, total: float) -> RateLimited:
        REFUSED_EVENT_STREAMS.increment("process")
        detail = f"All slots are in use: at most {total} event streams are open here."
        return RateLimited(detail, retry_after=STREAM_RETRY_AFTER)
