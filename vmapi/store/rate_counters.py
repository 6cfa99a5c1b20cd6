"""Counting requests in windows of time: in this process, or in a Redis that all processes share."""

import threading
from collections.abc import Sequence
from typing import Any, Protocol

import structlog

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
        self._closed = threading.Event()
        self._probe: threading.Thread | None = None

    def increment(self, kind: str, key: str, windows: Sequence[Window]) -> Sequence[int]:
        """Count one more, in one round trip."""
        if self._is_unavailable:
            return self._fallback.increment(kind, key, windows)
        pipeline = self._client.pipeline(transaction=False)
        for seconds, number in windows:
            key = f"vmapi:rate:{kind}:{seconds}:{number}:{key}"
            # kept a little longer: the clocks of processes differ
            pipeline.incr(key).expire(key, seconds + 60)
        try:
            return [int(count) for count in pipeline.execute()[::2]]
        except self._failures as error:
            self._on_failure(error)
            return self._fallback.increment(kind, key, windows)

    def close(self) -> None:
        """Let go of connections."""
        self._closed.set()
        if self._probe is not None:
            # it may be asking just now
            self._probe.join()
        self._client.close()

    def _on_failure(self, error: Exception) -> None:
        with self._lock:
            if self._is_unavailable or self._closed.is_set():
                return
            self._is_unavailable = True
            self._probe = threading.Thread(target=self._wait_for_redis, name="redis", daemon=True)
            self._probe.start()
        log.warning("Redis is away: rates are limited per process", reason=str(error))

    def _wait_for_redis(self) -> None:
        while not self._closed.wait(REDIS_PROBE_INTERVAL):
            try:
                self._client.ping()
            except self._failures:
                continue
            self._is_unavailable = False
            log.info("Redis is back: rates are limited for all processes together")
            return
