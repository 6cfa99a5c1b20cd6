"""The rate limits: their syntax in the settings, and the count of requests."""

import re

import pytest

from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.access.rate_limit import RateLimit
from vmapi.errors import RateLimited, SettingsError
from vmapi.services.access.rate_limits import (
    RateLimiter,
    RateLimitStatus,
    enforce,
)
from vmapi.settings.limits import parse_rate_limits
from vmapi.settings.settings import Settings
from vmapi.store import rate_counters
from vmapi.store.rate_counters import MemoryCounters

ALLOWED = "allowed is N/second, N/minute or N/hour, several with ; between them, or off"
BAD = [
    *("", " ", "0/second", "-1/second", "1.5/second", "10", "/second", "10/", "10/day", "Off"),
    *("10/second;", ";", "10/second;20/second", "10/second,20/minute", "10 / second", "1e3/hour"),
    *("10/seconds", "12345678/hour", "١/second", "10/second\n;off", "off;1/second"),
]


class RateLimiterHarness:
    """A rate limiter with a fake clock, 20.25 seconds after a full minute."""

    def __init__(self, text: str) -> None:
        self.now = 1_000_000_040.25
        self.counters = MemoryCounters()
        limits = {
            "reads": parse_rate_limits("reads", text),
            "changes": parse_rate_limits("changes", text),
        }
        self.limiter = RateLimiter(limits, self.counters, lambda: self.now)

    def hit(self, key: str = "a", kind: str = "reads") -> list[tuple[int, int]]:
        """Count a request; return what remains of each limit, and the seconds to its reset."""
        return [(status.remaining, status.reset_after) for status in self.limiter.hit(kind, key)]


def test_parse_returns_each_limit_with_its_window() -> None:
    assert parse_rate_limits("reads", "off") == ()
    second, hour = parse_rate_limits("reads", "100/second; 6000/hour")
    assert (second.amount, second.window, second.name) == (100, 1, "reads-per-second")
    assert (hour.amount, hour.window, hour.name) == (6000, 3600, "reads-per-hour")


@pytest.mark.parametrize("text", BAD)
def test_parse_refuses_invalid_syntax(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        parse_rate_limits("reads", text)


@pytest.mark.parametrize("name", ["reads", "changes", "address"])
def test_app_does_not_start_with_an_invalid_limit(name: str) -> None:
    variable = f"VMAPI_RATE_{name.upper()}"
    with pytest.raises(SettingsError) as refused:
        Settings.from_environ({variable: "10"})
    assert refused.value.detail == f"{variable} '10': {ALLOWED}"


@pytest.mark.parametrize("url", ["redis://h:hunter2", "rediss://u:p@h:99999999/0"])
def test_app_does_not_start_with_an_invalid_redis_url(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        create_app(Settings(log_level="CRITICAL", rate_storage=url), MemoryBackend())
    assert refused.value.detail == "VMAPI_RATE_STORAGE: not a URL of a Redis"


def test_hit_counts_each_key_kind_and_window_apart() -> None:
    harness = RateLimiterHarness("2/second;3/minute")
    assert harness.hit() == [(1, 1), (2, 40)]
    assert harness.hit() == [(0, 1), (1, 40)]
    assert harness.hit() == [(-1, 1), (0, 40)]
    assert harness.hit("b") == [(1, 1), (2, 40)]
    assert harness.hit(kind="changes") == [(1, 1), (2, 40)]
    harness.now += 1
    assert harness.hit() == [(1, 1), (-1, 39)]
    harness.now += 39
    assert harness.hit() == [(1, 1), (2, 60)]


def test_disabled_limit_counts_no_requests() -> None:
    harness = RateLimiterHarness("off")
    assert harness.hit() == []
    assert harness.counters.list_counted_keys() == set()


def test_count_of_a_new_key_replaces_the_oldest_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_counters, "MAX_COUNTED_KEYS", 2)
    harness = RateLimiterHarness("9/hour")
    for key in ("a", "b", "a", "c"):
        harness.hit(key)
    assert harness.counters.list_counted_keys() == {"b", "c"}
    assert harness.hit("b") == [(7, 760)]


def test_counts_of_a_past_window_are_evicted() -> None:
    harness = RateLimiterHarness("1/second")
    for number in range(100):
        harness.hit(str(number))
    harness.now += 1
    harness.hit("one")
    assert harness.counters.list_counted_keys() == {"one"}


@pytest.mark.parametrize(
    ("kind", "detail"),
    [
        ("reads", "At most 9 reads of one caller are served per minute."),
        ("address", "At most 9 requests from one address are served per minute."),
    ],
)
def test_enforce_raises_with_the_longest_wait(kind: str, detail: str) -> None:
    second, minute = RateLimit(2, "second", "s"), RateLimit(9, "minute", "m")
    enforce(kind, [RateLimitStatus(second, 0, 1), RateLimitStatus(minute, 0, 30)])
    with pytest.raises(RateLimited) as refused:
        enforce(kind, [RateLimitStatus(second, -1, 1), RateLimitStatus(minute, -5, 30)])
    assert (refused.value.detail, refused.value.retry_after) == (detail, 30)
