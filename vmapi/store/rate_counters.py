"""Counters of the rate limiter: requests per window, in this process or in Redis.

Redis holds the counts that all processes share. Invariant: a Redis that fails costs one request its
timeout; until Redis responds again, each process counts for itself.
"""

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

import structlog

from vmapi.concurrency.nonblocking import raise_if_nonblocking
from vmapi.concurrency.probe_loop import ProbeLoop
from vmapi.errors import SettingsError
from vmapi.telemetry.metrics.catalog import CIRCUIT_BREAKER_OPEN

log = structlog.get_logger("vmapi.rates")

REDIS_TIMEOUT = 0.1
"""Seconds to wait for Redis: a request must not notice its failure."""

REDIS_PROBE_INTERVAL = 1.0
"""Seconds between two pings of an unavailable Redis."""

MAX_COUNTED_KEYS = 100_000
"""Keys of a window that a process counts: the count of a new key replaces the oldest count."""

Window = tuple[int, int]
"""The length of a window in seconds, and its number since 1970."""


class RateCounters(Protocol):
    """Counts the requests of a key in windows of time."""

    def increment(self, kind: str, key: str, windows: Sequence[Window]) -> Sequence[int]:
        """Count a request in each window and return the counts, this request included."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class MemoryCounters:
    """Counts of this process. A new window replaces the counts of the one before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, int], tuple[int, dict[str, int]]] = {}

    def increment(self, kind: str, key: str, windows: Sequence[Window]) -> Sequence[int]:
        """Count a request in each window and return the counts."""
        totals = []
        with self._lock:
            for seconds, number in windows:
                current, counts = self._counts.get((kind, seconds), (-1, {}))
                if current != number:
                    counts = {}
                    self._counts[kind, seconds] = number, counts
                if key not in counts and len(counts) >= MAX_COUNTED_KEYS:
                    del counts[next(iter(counts))]
                counts[key] = count = counts.get(key, 0) + 1
                totals.append(count)
        return totals

    def list_counted_keys(self) -> set[str]:
        """Return the keys with a count."""
        with self._lock:
            return {key for _, counts in self._counts.values() for key in counts}

    def close(self) -> None:
        """Do nothing: there are no connections."""


class RedisCounters:
    """Counts of all processes in Redis; a fallback counts while Redis is unavailable.

    Connects on first use. Raises SettingsError for an invalid URL.
    """

    def __init__(self, url: str) -> None:
        # imported only where the settings name a Redis
        from redis import Redis, RedisError
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._failures: tuple[type[Exception], ...] = (RedisError, OSError)
        try:
            self.client: Any = Redis.from_url(
                url,
                socket_timeout=REDIS_TIMEOUT,
                socket_connect_timeout=REDIS_TIMEOUT,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError:
            raise SettingsError("VMAPI_RATE_STORAGE: not a URL of a Redis") from None
        self._fallback = MemoryCounters()
        self._lock = threading.Lock()
        self.is_unavailable = False
        CIRCUIT_BREAKER_OPEN.set(0, "redis")
        self._probe_loop = ProbeLoop(
            "redis-probe", REDIS_PROBE_INTERVAL, self._ping, lambda: self.is_unavailable
        )

    def increment(self, kind: str, key: str, windows: Sequence[Window]) -> Sequence[int]:
        """Count a request in each window, in one round trip, and return the counts."""
        if self.is_unavailable:
            self._probe_loop.start()
            return self._fallback.increment(kind, key, windows)
        raise_if_nonblocking()
        pipeline = self.client.pipeline(transaction=False)
        for seconds, number in windows:
            counter = f"vmapi:rate:{kind}:{seconds}:{number}:{key}"
            # longer than the window: the clocks of processes differ
            pipeline.incr(counter).expire(counter, seconds + 60)
        try:
            return [int(count) for count in pipeline.execute()[::2]]
        except self._failures as error:
            self._on_failure(error)
            return self._fallback.increment(kind, key, windows)

    def close(self) -> None:
        """Stop the probe and close the connections."""
        # a ping in progress uses the client
        self._probe_loop.stop(wait=True)
        self.client.close()

    def _on_failure(self, error: Exception) -> None:
        with self._lock:
            if self.is_unavailable:
                return
            self.is_unavailable = True
        CIRCUIT_BREAKER_OPEN.set(1, "redis")
        log.warning("Redis is unavailable: rates are limited per process", reason=str(error))
        self._probe_loop.start()

    def _ping(self) -> None:
        with suppress(*self._failures):
            self.client.ping()
            self.is_unavailable = False
            CIRCUIT_BREAKER_OPEN.set(0, "redis")
            log.info("Redis is available: rates are limited for all processes together")
