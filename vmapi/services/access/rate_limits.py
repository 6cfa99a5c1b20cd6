"""How many requests are served: for each caller, and for each address."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from vmapi.errors import RateLimited
from vmapi.settings.parsing import Notation
from vmapi.settings.settings import RATE, Settings
from vmapi.store.rate_counters import Counters, InProcess, InRedis

UNITS: Mapping[str, int] = {"second": 1, "minute": 60, "hour": 3600}
OFF = "off"


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `amount` in each window of so many seconds; `name` stands in headers."""

    amount: int
    unit: str
    name: str

    @property
    def window(self) -> int:
        """Seconds."""
        return UNITS[self.unit]


@dataclass(frozen=True, slots=True)
class Standing:
    """How somebody stands with a rate: how much is left, for how many seconds from now."""

    rate: Rate
    left: int
    resets: int


def parse(variable: str, kind: str, text: str) -> tuple[Rate, ...]:
    """Read the rates of one kind of requests. Raises SettingsError."""
    if text == OFF:
        return ()
    rates: dict[str, Rate] = {}
    for written in text.split(";"):
        found = re.fullmatch(r"\s*([1-9][0-9]{0,6})/(second|minute|hour)\s*", written, re.ASCII)
        if found is None or found[2] in rates:
            raise Notation(variable, RATE).error(text)
        rates[found[2]] = Rate(int(found[1]), found[2], f"{kind}-per-{found[2]}")
    return tuple(rates.values())


class Rates:
    """Counts requests, and refuses what is too much; what is refused counts too.

    `limits` are the rates by kind of request; `clock` tells the seconds since 1970.
    """

    def __init__(
        self,
        limits: Mapping[str, Sequence[Rate]],
        counters: Counters,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._limits = limits
        self._counters = counters
        self._clock = clock

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Make what the settings say, without asking Redis. Raises SettingsError."""
        limits = {
            "reads": parse("VMAPI_RATE_READS", "reads", settings.rate_reads),
            "changes": parse("VMAPI_RATE_CHANGES", "changes", settings.rate_changes),
            "address": parse("VMAPI_RATE_ADDRESS", "address", settings.rate_address),
        }
        url = settings.rate_storage
        return cls(limits, InProcess() if url is None or url == "memory" else InRedis(url))

    def spend(self, kind: str, who: str) -> Sequence[Standing]:
        """Count a request of somebody; return how he stands with each rate of that kind."""
        rates = self._limits[kind]
        if not rates:
            return ()
        now = int(self._clock())
        windows = [(rate.window, now // rate.window) for rate in rates]
        counts = self._counters.add(kind, who, windows)
        return [
            Standing(rate, rate.amount - count, rate.window - now % rate.window)
            for rate, count in zip(rates, counts, strict=True)
        ]

    def close(self) -> None:
        """Let go of connections."""
        self._counters.close()


def check(kind: str, standings: Sequence[Standing]) -> None:
    """Raise RateLimited where somebody has spent more than he may."""
    over = [standing for standing in standings if standing.left < 0]
    if over:
        worst = max(over, key=lambda standing: standing.resets)
        whose = "requests from one address" if kind == "address" else f"{kind} of one caller"
        said = f"At most {worst.rate.amount} {whose} are served per {worst.rate.unit}."
        raise RateLimited(said, retry_after=worst.resets)
