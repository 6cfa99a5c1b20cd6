"""Rate counter tests: shared counts in Redis, local counts without it."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.blocking_source import wait_until
from tests.support.metrics import RecordedMetrics
from tests.support.redis_server import SECRET, RedisServer
from vmapi.store import rate_counters
from vmapi.store.rate_counters import RedisCounters

NOW = [(1, 5), (60, 7)]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    redis = RedisServer(tmp_path)
    redis.start()
    yield redis
    redis.kill()


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], RedisCounters]]:
    """Create counters as further processes do, with a long timeout and a short probe interval."""
    monkeypatch.setattr(rate_counters, "REDIS_TIMEOUT", 5)
    monkeypatch.setattr(rate_counters, "REDIS_PROBE_INTERVAL", 0.01)
    with ExitStack() as stack:

        def make(url: str) -> RedisCounters:
            counters = RedisCounters(url)
            stack.callback(counters.close)
            return counters

        yield make


def test_processes_share_the_counts_in_redis(
    redis: RedisServer, connect: Callable[[str], RedisCounters]
) -> None:
    counters, other_counters = connect(redis.url), connect(redis.url)
    assert counters.increment("reads", "a", NOW) == [1, 1]
    assert other_counters.increment("reads", "a", [(1, 6), (60, 7)]) == [1, 2]
    assert counters.increment("reads", "a", NOW) == [2, 3]
    assert (
        counters.increment("reads", "b", NOW)
        == other_counters.increment("changes", "a", NOW)
        == [1, 1]
    )


def test_counts_expire_in_redis(
    redis: RedisServer, connect: Callable[[str], RedisCounters]
) -> None:
    counters = connect(redis.url)
    counters.increment("reads", "a", NOW)
    keys = counters.client.keys("*")
    assert len(keys) == 2
    assert all(0 < counters.client.ttl(key) <= 120 for key in keys)


def test_unavailable_redis_at_the_start_counts_in_memory(
    connect: Callable[[str], RedisCounters],
) -> None:
    counters = connect(f"redis://:{SECRET}@127.0.0.1:1/0")
    with capture_logs() as logs:
        assert [counters.increment("reads", "a", NOW) for _ in range(2)] == [[1, 1], [2, 2]]
    assert [entry["event"] for entry in logs] == [
        "Redis is unavailable: rates are limited per process"
    ]
    assert SECRET not in str(logs)


def test_redis_outage_and_return_are_logged(
    redis: RedisServer, connect: Callable[[str], RedisCounters]
) -> None:
    counters, other_counters = connect(redis.url), connect(redis.url)
    other_counters.increment("reads", "a", NOW)
    assert counters.increment("reads", "a", NOW) == [2, 2]
    redis.kill()
    with capture_logs() as logs:
        assert [counters.increment("reads", "a", NOW) for _ in range(3)] == [[1, 1], [2, 2], [3, 3]]
        redis.log.write_text("")
        redis.start()
        wait_until(lambda: not counters.is_unavailable)
        assert counters.increment("reads", "a", NOW) == [1, 1]
    assert [entry["event"] for entry in logs] == [
        "Redis is unavailable: rates are limited per process",
        "Redis is available: rates are limited for all processes together",
    ]
    assert SECRET not in str(logs)


def test_metric_is_1_while_redis_is_unavailable(
    redis: RedisServer, connect: Callable[[str], RedisCounters], metrics: RecordedMetrics
) -> None:
    counters = connect(redis.url)
    name, labels = "vmapi_circuit_breaker_open", {"dependency": "redis"}
    values = [metrics.sum(name, **labels)]
    redis.kill()
    with capture_logs():
        counters.increment("reads", "a", NOW)
        values.append(metrics.sum(name, **labels))
        redis.log.write_text("")
        redis.start()
        wait_until(lambda: metrics.sum(name, **labels) == 0)
    assert values == [0, 1]


def test_wrong_redis_password_falls_back_to_memory(
    redis: RedisServer, connect: Callable[[str], RedisCounters]
) -> None:
    counters = connect(redis.url.replace(SECRET, "hunter3"))
    with capture_logs() as logs:
        assert counters.increment("reads", "a", NOW) == [1, 1]
    assert "hunter3" not in str(logs)


def test_hanging_redis_delays_one_request(
    redis: RedisServer, connect: Callable[[str], RedisCounters], monkeypatch: pytest.MonkeyPatch
) -> None:
    counters = connect(redis.url)
    counters.increment("reads", "a", NOW)
    counters.close()
    monkeypatch.setattr(rate_counters, "REDIS_TIMEOUT", 0.1)
    counters = connect(redis.url)
    os.kill(redis.pid, signal.SIGSTOP)
    calls = []
    monkeypatch.setattr(counters, "client", Counting(counters.client, calls))
    assert [counters.increment("reads", "a", NOW) for _ in range(50)][-1] == [50, 50]
    assert calls == ["pipeline"]
    os.kill(redis.pid, signal.SIGCONT)
    wait_until(lambda: not counters.is_unavailable)
    assert counters.increment("reads", "a", NOW)[0] >= 2


class Counting:
    """Signals when a client is called."""

    def __init__(self, client: object, calls: list[str]) -> None:
        self._client = client
        self._calls = calls

    def __getattr__(self, name: str) -> object:
        if name == "pipeline":
            self._calls.append(name)
        return getattr(self._client, name)
