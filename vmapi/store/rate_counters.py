"""Counting requests in windows of time: in this process, or in a Redis that all processes share."""

import threading
from collections.abc import Sequence
from typing import Any, Protocol

import structlog

from vmapi.errors import SettingsError

log = structlog.get_logger("vmapi.rates")

TIMEOUT = 0.1
"""Seconds that Redis may take: a request does not wait for longer, and that once."""

PAUSE = 1.0
"""Seconds between two pings of a Redis that did not answer."""

Window = tuple[int, int]
"""Its length in seconds, and its number since 1970."""


class Counters(Protocol):
    """Counts what is done by whom, from 1 on in each window."""

    def add(self, kind: str, who: str, windows: Sequence[Window]) -> Sequence[int]:
        """Count one more in these windows; return how many there are in each."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


class InProcess:
    """What this process has seen. What is over is forgotten with the window's end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, int], tuple[int, dict[str, int]]] = {}

    def add(self, kind: str, who: str, windows: Sequence[Window]) -> Sequence[int]:
        """Count one more."""
        found = []
        with self._lock:
            for seconds, number in windows:
                current, counts = self._counts.get((kind, seconds), (-1, {}))
                if current != number:
                    counts = {}
                    self._counts[kind, seconds] = number, counts
                counts[who] = count = counts.get(who, 0) + 1
                found.append(count)
        return found

    def close(self) -> None:
        """Hold nothing."""


class InRedis:
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
                socket_timeout=TIMEOUT,
                socket_connect_timeout=TIMEOUT,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError:
            raise SettingsError("VMAPI_RATE_STORAGE: this is no URL of a Redis") from None
        self._here = InProcess()
        self._lock = threading.Lock()
        self._away = False
        self._closed = threading.Event()
        self._finder: threading.Thread | None = None

    def add(self, kind: str, who: str, windows: Sequence[Window]) -> Sequence[int]:
        """Count one more, in one round trip."""
        if self._away:
            return self._here.add(kind, who, windows)
        pipeline = self._client.pipeline(transaction=False)
        for seconds, number in windows:
            key = f"vmapi:rate:{kind}:{seconds}:{number}:{who}"
            # kept a little longer: the clocks of processes differ
            pipeline.incr(key).expire(key, seconds + 60)
        try:
            return [int(count) for count in pipeline.execute()[::2]]
        except self._failures as error:
            self._lose(error)
            return self._here.add(kind, who, windows)

    def close(self) -> None:
        """Let go of connections."""
        self._closed.set()
        if self._finder is not None:
            # it may be asking just now
            self._finder.join()
        self._client.close()

    def _lose(self, error: Exception) -> None:
        with self._lock:
            if self._away or self._closed.is_set():
                return
            self._away = True
            self._finder = threading.Thread(target=self._find, name="redis", daemon=True)
            self._finder.start()
        log.warning("Redis is away: rates are limited per process", reason=str(error))

    def _find(self) -> None:
        while not self._closed.wait(PAUSE):
            try:
                self._client.ping()
            except self._failures:
                continue
            self._away = False
            log.info("Redis is back: rates are limited for all processes together")
            return
