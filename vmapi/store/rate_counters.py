"""Counting requests in windows of time: in this process, or in a Redis that all processes share."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

import structlog

from vmapi.concurrency.probe_loop import ProbeLoop
from vmapi.errors import SettingsError

log = structlog.get_logger("vmapi.rates")

REDIS_TIMEOUT = 0.1
"""Seconds that Redis may take: a request does not wait for longer, and that once."""

REDIS_PROBE_INTERVAL = 1.0
"""Seconds between two pings of a Redis that did not answer."""

Window = tuple[int, int]
"""Its length in seconds, and its number since 1970."""


class RateCounters(Protocol):
    """Counts what is done by whom, from 1 on in each window."""

    def increment(self, kind: str, key: str, windows: Sequence[Window]) -> Sequence[int]:
        """Count one more in these windows; return how many there are in each."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class MemoryCounters:
    """What this process has seen. What is over is forgotten with the window's end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, int], tuple[int, dict[str, int]]] = {}

    def increment(self, kind: str, key: str, windows: Sequence[Window]) -> Sequence[int]:
        """Count one more."""
        found = []
        with self._lock:
            for seconds, number in windows:
                current, counts = self._counts.get((kind, seconds), (-1, {}))
                if current != number:
                    counts = {}
                    self._counts[kind, seconds] = number, counts
                counts[key] = count = counts.get(key, 0) + 1
                found.append(count)
        return found

    def close(self) -> None:
        """Hold nothing."""


class RedisCounters:
    """What all processes have seen; while Redis is away, what this one has. Connects when used.

    Raises SettingsError for a URL that is none.
    """

    def __init__(self, url: str) -> None:
        # loaded only where it is asked for
        from redis import Redis, RedisError
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self._failures: tuple[type[Exception], ...] = (RedisError, OSError)
        try:
            self._client: Any = Redis.from_url(
                url,
                socket_timeout=REDIS_TIMEOUT,
                socket_connect_timeout=REDIS_TIMEOUT,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError:
            raise SettingsError("VMAPI_RATE_STORAGE: this is no URL of a Redis") from None
        self._fallback = MemoryCounters()
        self._lock = threading.Lock()
        self._is_unavailable = False
        self._probe_loop = ProbeLoop(
            "redis-probe", REDIS_PROBE_INTERVAL, self._ping, lambda: self._is_unavailable
        )

    def increment(self, kind: str, key: str, windows: Sequence[Window]) -> Sequence[int]:
        """Count one more, in one round trip."""
        if self._is_unavailable:
            self._probe_loop.start()
            return self._fallback.increment(kind, key, windows)
        pipeline = self._client.pipeline(transaction=False)
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
        """Let go of connections."""
        # a ping in progress uses the client
        self._probe_loop.stop(wait=True)
        self._client.close()

    def _on_failure(self, error: Exception) -> None:
        with self._lock:
            if self._is_unavailable:
                return
            self._is_unavailable = True
        log.warning("Redis is unavailable: rates are limited per process", reason=str(error))
        self._probe_loop.start()

    def _ping(self) -> None:
        with suppress(*self._failures):
            self._client.ping()
            self._is_unavailable = False
            log.info("Redis is available: rates are limited for all processes together")
