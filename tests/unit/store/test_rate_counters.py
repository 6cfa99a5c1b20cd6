"""Rate counter tests: shared counts in Redis, local counts without it."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.blocking_source import wait_until
from tests.support.processes import ServerProcess, require_program
from vmapi.store import rate_counters
from vmapi.store.rate_counters import RedisCounters

SECRET = "hunter2"
NOW = [(1, 5), (60, 7)]


class Redis(ServerProcess):
    """A Redis of a test's own, on loopback, that keeps nothing."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, "redis")
        self.program = require_program("redis-server", "redis")
        self.url = f"redis://:{SECRET}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        options = ("--port", str(self.port), "--bind", "127.0.0.1", "--save", "")
        self.spawn(self.program, *options, "--requirepass", SECRET)
        wait_until(lambda: "Ready to accept connections" in self.read_log())


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Redis]:
    redis = Redis(tmp_path)
    redis.start()
    yield redis
    redis.kill()


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], RedisCounters]]:
    """Make counters of further processes; they are patient, and ask soon whether it is back."""
    monkeypatch.setattr(rate_counters, "REDIS_TIMEOUT", 5)
    monkeypatch.setattr(rate_counters, "REDIS_PROBE_INTERVAL", 0.01)
    with ExitStack() as stack:

        def make(url: str) -> RedisCounters:
            made = RedisCounters(url)
            stack.callback(made.close)
            return made

        yield make


def test_processes_share_the_counts_in_redis(
    redis: Redis, connect: Callable[[str], RedisCounters]
) -> None:
    one, other = connect(redis.url), connect(redis.url)
    assert one.increment("reads", "a", NOW) == [1, 1]
    assert other.increment("reads", "a", [(1, 6), (60, 7)]) == [1, 2]
    assert one.increment("reads", "a", NOW) == [2, 3]
    assert one.increment("reads", "b", NOW) == other.increment("changes", "a", NOW) == [1, 1]


def test_counts_expire_in_redis(redis: Redis, connect: Callable[[str], RedisCounters]) -> None:
    one = connect(redis.url)
    one.increment("reads", "a", NOW)
    keys = one.client.keys("*")
    assert len(keys) == 2
    assert all(0 < one.client.ttl(key) <= 120 for key in keys)


def test_unavailable_redis_at_the_start_counts_in_memory(
    connect: Callable[[str], RedisCounters],
) -> None:
    one = connect(f"redis://:{SECRET}@127.0.0.1:1/0")
    with capture_logs() as logs:
        assert [one.increment("reads", "a", NOW) for _ in range(2)] == [[1, 1], [2, 2]]
    assert [line["event"] for line in logs] == [
        "Redis is unavailable: rates are limited per process"
    ]
    assert SECRET not in str(logs)


def test_redis_outage_and_return_are_logged(
    redis: Redis, connect: Callable[[str], RedisCounters]
) -> None:
    one, other = connect(redis.url), connect(redis.url)
    other.increment("reads", "a", NOW)
    assert one.increment("reads", "a", NOW) == [2, 2]
    redis.kill()
    with capture_logs() as logs:
        assert [one.increment("reads", "a", NOW) for _ in range(3)] == [[1, 1], [2, 2], [3, 3]]
        redis.log.write_text("")
        redis.start()
        wait_until(lambda: not one.is_unavailable)
        assert one.increment("reads", "a", NOW) == [1, 1]
    assert [line["event"] for line in logs] == [
        "Redis is unavailable: rates are limited per process",
        "Redis is available: rates are limited for all processes together",
    ]
    assert SECRET not in str(logs)


def test_wrong_password_counts_in_memory(
    redis: Redis, connect: Callable[[str], RedisCounters]
) -> None:
    one = connect(redis.url.replace(SECRET, "hunter3"))
    with capture_logs() as logs:
        assert one.increment("reads", "a", NOW) == [1, 1]
    assert "hunter3" not in str(logs)


def test_hanging_redis_delays_one_request(
    redis: Redis, connect: Callable[[str], RedisCounters], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = connect(redis.url)
    one.increment("reads", "a", NOW)
    one.close()
    monkeypatch.setattr(rate_counters, "REDIS_TIMEOUT", 0.1)
    one = connect(redis.url)
    os.kill(redis.pid, signal.SIGSTOP)
    calls = []
    monkeypatch.setattr(one, "client", Counting(one.client, calls))
    assert [one.increment("reads", "a", NOW) for _ in range(50)][-1] == [50, 50]
    assert calls == ["pipeline"]
    os.kill(redis.pid, signal.SIGCONT)
    wait_until(lambda: not one.is_unavailable)
    assert one.increment("reads", "a", NOW)[0] >= 2


class Counting:
    """Signals when a client is called."""

    def __init__(self, client: object, calls: list[str]) -> None:
        self._client = client
        self._calls = calls

    def __getattr__(self, name: str) -> object:
        if name == "pipeline":
            self._calls.append(name)
        return getattr(self._client, name)
