"""Counting together in Redis, and alone while it is away."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.blocking_source import wait_until
from tests.support.processes import ServerProcess, require_program
from vmapi.store import rate_counters as counters
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
    monkeypatch.setattr(counters, "REDIS_TIMEOUT", 5)
    monkeypatch.setattr(counters, "REDIS_PROBE_INTERVAL", 0.01)
    with ExitStack() as stack:

        def make(url: str) -> RedisCounters:
            made = RedisCounters(url)
            stack.callback(made.close)
            return made

        yield make


def test_processes_count_together(redis: Redis, connect: Callable[[str], RedisCounters]) -> None:
    one, other = connect(redis.url), connect(redis.url)
    assert one.increment("reads", "a", NOW) == [1, 1]
    assert other.increment("reads", "a", [(1, 6), (60, 7)]) == [1, 2]
    assert one.increment("reads", "a", NOW) == [2, 3]
    assert one.increment("reads", "b", NOW) == other.increment("changes", "a", NOW) == [1, 1]


def test_redis_forgets_what_is_over(redis: Redis, connect: Callable[[str], RedisCounters]) -> None:
    one = connect(redis.url)
    one.increment("reads", "a", NOW)
    keys = one._client.keys("*")
    assert len(keys) == 2
    assert all(0 < one._client.ttl(key) <= 120 for key in keys)


def test_it_is_there_from_the_start_or_it_is_not(connect: Callable[[str], RedisCounters]) -> None:
    one = connect(f"redis://:{SECRET}@127.0.0.1:1/0")
    with capture_logs() as logs:
        assert [one.increment("reads", "a", NOW) for _ in range(2)] == [[1, 1], [2, 2]]
    assert [line["event"] for line in logs] == [
        "Redis is unavailable: rates are limited per process"
    ]
    assert SECRET not in str(logs)


def test_it_goes_and_comes_back(redis: Redis, connect: Callable[[str], RedisCounters]) -> None:
    one, other = connect(redis.url), connect(redis.url)
    other.increment("reads", "a", NOW)
    assert one.increment("reads", "a", NOW) == [2, 2]
    redis.kill()
    with capture_logs() as logs:
        assert [one.increment("reads", "a", NOW) for _ in range(3)] == [[1, 1], [2, 2], [3, 3]]
        redis.log.write_text("")
        redis.start()
        wait_until(lambda: not one._is_unavailable)
        assert one.increment("reads", "a", NOW) == [1, 1]
    assert [line["event"] for line in logs] == [
        "Redis is unavailable: rates are limited per process",
        "Redis is available: rates are limited for all processes together",
    ]
    assert SECRET not in str(logs)


def test_a_wrong_password_is_no_more_than_being_away(
    redis: Redis, connect: Callable[[str], RedisCounters]
) -> None:
    one = connect(redis.url.replace(SECRET, "hunter3"))
    with capture_logs() as logs:
        assert one.increment("reads", "a", NOW) == [1, 1]
    assert "hunter3" not in str(logs)


def test_one_that_hangs_is_waited_for_once(
    redis: Redis, connect: Callable[[str], RedisCounters], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = connect(redis.url)
    one.increment("reads", "a", NOW)
    one.close()
    monkeypatch.setattr(counters, "REDIS_TIMEOUT", 0.1)
    one = connect(redis.url)
    os.kill(redis.pid, signal.SIGSTOP)
    asked = []
    monkeypatch.setattr(one, "_client", Counting(one._client, asked))
    assert [one.increment("reads", "a", NOW) for _ in range(50)][-1] == [50, 50]
    assert asked == ["pipeline"]
    os.kill(redis.pid, signal.SIGCONT)
    wait_until(lambda: not one._is_unavailable)
    assert one.increment("reads", "a", NOW)[0] >= 2


class Counting:
    """Tells when a client is asked to count."""

    def __init__(self, client: object, asked: list[str]) -> None:
        self._client = client
        self._asked = asked

    def __getattr__(self, name: str) -> object:
        if name == "pipeline":
            self._asked.append(name)
        return getattr(self._client, name)
