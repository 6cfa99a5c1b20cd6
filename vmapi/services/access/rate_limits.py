"""How many requests are served: for each caller, and for each address."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from vmapi.domain.rate_limit import RateLimit
from vmapi.errors import RateLimited
from vmapi.settings.settings import Settings
from vmapi.store.rate_counters import MemoryCounters, RateCounters, RedisCounters


@dataclass(frozen=True, slots=True)
class RateLimitStatus:
    """How somebody stands with a rate: how much is left, for how many seconds from now."""

    limit: RateLimit
    remaining: int
    reset_after: int


class RateLimiter:
    """Counts requests, and refuses what is too much; what is refused counts too.

    `limits` are the rates by kind of request; `clock` tells the seconds since 1970.
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
        """Make what the settings say, without asking Redis. Raises SettingsError."""
        limits = {
            "reads": settings.rate_reads,
            "changes": settings.rate_changes,
            "address": settings.rate_address,
        }
        url = settings.rate_storage
        return cls(
            limits, MemoryCounters() if url is None or url == "memory" else RedisCounters(url)
        )

    def hit(self, kind: str, key: str) -> Sequence[RateLimitStatus]:
        """Count a request of somebody; return how he stands with each rate of that kind."""
        rates = self._limits[kind]
        if not rates:
            return ()
        now = int(self._clock())
        windows = [(rate.window, now // rate.window) for rate in rates]
        counts = self._counters.increment(kind, key, windows)
        return [
            RateLimitStatus(rate, rate.amount - count, rate.window - now % rate.window)
            for rate, count in zip(rates, counts, strict=True)
        ]

    def close(self) -> None:
        """Let go of connections."""
        self._counters.close()


def enforce(kind: str, statuses: Sequence[RateLimitStatus]) -> None:
    """Raise RateLimited where somebody has spent more than he may."""
    over = [standing for standing in statuses if standing.remaining < 0]
    if over:
        worst = max(over, key=lambda standing: standing.reset_after)
        whose = "requests from one address" if kind == "address" else f"{kind} of one caller"
        said = f"At most {worst.limit.amount} {whose} are served per {worst.limit.unit}."
        raise RateLimited(said, retry_after=worst.reset_after)
