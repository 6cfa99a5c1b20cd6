"""How many requests are served: what is written for it, and how it is counted."""

import re

import pytest

from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.rate_limit import RateLimit
from vmapi.errors import RateLimited, SettingsError
from vmapi.services.access.rate_limits import (
    RateLimiter,
    RateLimitStatus,
    enforce,
)
from vmapi.settings.limits import parse_rate_limits
from vmapi.settings.settings import Settings
from vmapi.store.rate_counters import MemoryCounters

ALLOWED = "allowed is N/second, N/minute or N/hour, several with ; between them, or off"
BAD = [
    *("", " ", "0/second", "-1/second", "1.5/second", "10", "/second", "10/", "10/day", "Off"),
    *("10/second;", ";", "10/second;20/second", "10/second,20/minute", "10 / second", "1e3/hour"),
    *("10/seconds", "12345678/hour", "١/second", "10/second\n;off", "off;1/second"),
]


class Bench:
    """Rates at a time that a test decides."""

    def __init__(self, text: str) -> None:
        self.now = 1_000_000_040.25
        self.counters = MemoryCounters()
        limits = {
            "reads": parse_rate_limits("reads", text),
            "changes": parse_rate_limits("changes", text),
        }
        self.rates = RateLimiter(limits, self.counters, lambda: self.now)

    def left(self, who: str = "a", kind: str = "reads") -> list[tuple[int, int]]:
        return [(each.remaining, each.reset_after) for each in self.rates.hit(kind, who)]


def test_what_is_written() -> None:
    assert parse_rate_limits("reads", "off") == ()
    second, hour = parse_rate_limits("reads", "100/second; 6000/hour")
    assert (second.amount, second.window, second.name) == (100, 1, "reads-per-second")
    assert (hour.amount, hour.window, hour.name) == (6000, 3600, "reads-per-hour")


@pytest.mark.parametrize("text", BAD)
def test_what_cannot_be_meant(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        parse_rate_limits("reads", text)


@pytest.mark.parametrize("name", ["reads", "changes", "address"])
def test_the_app_does_not_start_with_it(name: str) -> None:
    variable = f"VMAPI_RATE_{name.upper()}"
    with pytest.raises(SettingsError) as refused:
        Settings.from_environ({variable: "10"})
    assert refused.value.detail == f"{variable} '10': {ALLOWED}"


@pytest.mark.parametrize("url", ["redis://h:hunter2", "rediss://u:p@h:99999999/0"])
def test_nor_with_a_redis_of_nowhere(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        create_app(Settings(log_level="CRITICAL", rate_storage=url), MemoryBackend())
    assert refused.value.detail == "VMAPI_RATE_STORAGE: this is no URL of a Redis"


def test_each_has_so_many_in_each_window() -> None:
    bench = Bench("2/second;3/minute")
    # 20.25 seconds of the minute are over
    assert bench.left() == [(1, 1), (2, 40)]
    assert bench.left() == [(0, 1), (1, 40)]
    assert bench.left() == [(-1, 1), (0, 40)]
    assert bench.left("b") == [(1, 1), (2, 40)]
    assert bench.left(kind="changes") == [(1, 1), (2, 40)]
    bench.now += 1
    assert bench.left() == [(1, 1), (-1, 39)]
    bench.now += 39
    assert bench.left() == [(1, 1), (2, 60)]


def test_off_counts_nothing() -> None:
    bench = Bench("off")
    assert bench.left() == []
    assert bench.counters._counts == {}


def test_what_is_over_is_forgotten() -> None:
    bench = Bench("1/second")
    for number in range(100):
        bench.left(str(number))
    bench.now += 1
    bench.left("one")
    assert [set(counts) for _, counts in bench.counters._counts.values()] == [{"one"}]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("reads", "At most 9 reads of one caller are served per minute."),
        ("address", "At most 9 requests from one address are served per minute."),
    ],
)
def test_the_longest_wait_is_told(kind: str, said: str) -> None:
    second, minute = RateLimit(2, "second", "s"), RateLimit(9, "minute", "m")
    enforce(kind, [RateLimitStatus(second, 0, 1), RateLimitStatus(minute, 0, 30)])
    with pytest.raises(RateLimited) as refused:
        enforce(kind, [RateLimitStatus(second, -1, 1), RateLimitStatus(minute, -5, 30)])
    assert (refused.value.detail, refused.value.retry_after) == (said, 30)
