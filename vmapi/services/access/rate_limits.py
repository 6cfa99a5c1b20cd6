"""Limit the rate of requests, per caller and per client address.

The middleware hits a counter for each request and enforces the result.

Windows are fixed: a limit per minute counts from each full minute. So a client that uses a whole
limit just before a full minute, and another just after it, gets twice the rate for a short time. In
return, a hit costs one increment of one counter, in this process or in Redis.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from vmapi.domain.access.rate_limit import RateLimit
from vmapi.errors import RateLimited
from vmapi.settings.settings import Settings
from vmapi.store.rate_counters import MemoryCounters, RateCounters, RedisCounters
from vmapi.telemetry.metrics.catalog import RATE_LIMITED_REQUESTS


@dataclass(frozen=True, slots=True)
class RateLimitStatus:
    """The state of one limit for one client, after a hit."""

    limit: RateLimit

    #: Requests that remain in the window; negative when the limit is exceeded.
    remaining: int

    #: Seconds until the window ends.
    reset_after: int


class RateLimiter:
    """Counts requests against the limits of their kind. A refused request counts too.

    `limits` are the limits by kind; `clock` returns seconds since 1970.
    """

    def __init__(
        self,
        limits: Mapping[str, Sequence[RateLimit]],
        counters: RateCounters,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._limits = limits
        self._counters = counters
        self._clock = clock

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Build a limiter from the settings, without connecting to Redis.

        Raises SettingsError.
        """
        limits = {
            "reads": settings.rate_reads,
            "changes": settings.rate_changes,
            "address": settings.rate_address,
        }
        url = settings.rate_storage
        return cls(limits, MemoryCounters() if url in (None, "memory") else RedisCounters(url))

    def hit(self, kind: str, key: str) -> Sequence[RateLimitStatus]:
        """Count a request of one kind; return the state of each limit. `key` is the client."""
        limits = self._limits[kind]
        if not limits:
            return ()
        now = int(self._clock())
        windows = [(limit.window, now // limit.window) for limit in limits]
        counts = self._counters.increment(kind, key, windows)
        return [
            RateLimitStatus(limit, limit.amount - count, limit.window - now % limit.window)
            for limit, count in zip(limits, counts, strict=True)
        ]

    def close(self) -> None:
        """Close the connections."""
        self._counters.close()


def enforce(kind: str, statuses: Sequence[RateLimitStatus]) -> None:
    """Raise RateLimited if a limit is exceeded, with the longest wait of all exceeded limits."""
    exceeded = [status for status in statuses if status.remaining < 0]
    if exceeded:
        RATE_LIMITED_REQUESTS.increment(kind)
        worst = max(exceeded, key=lambda status: status.reset_after)
        subject = "requests from one address" if kind == "address" else f"{kind} of one caller"
        detail = f"At most {worst.limit.amount} {subject} are served per {worst.limit.unit}."
        raise RateLimited(detail, retry_after=worst.reset_after)
