"""Checks for changes: reads share one, and none uses a check that was sent before the read."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from unittest.mock import Mock, call

import pytest

from tests.support.blocking_source import wait_until
from tests.support.change_reader import CheckerHarness, DriverError
from tests.support.http_client import WAIT_SECONDS
from vmapi.concurrency.nonblocking import RepeatableRequest, WouldBlock
from vmapi.errors import StoreUnavailable
from vmapi.store.connections import answer_timeout, engine_setup
from vmapi.store.inventory import change_checker

THREADS = 6


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> CheckerHarness:
    monkeypatch.setattr(engine_setup, "PING_TIMEOUT", 5.0)
    harness = CheckerHarness()
    harness.read()
    harness.reader.calls.clear()
    return harness


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2 * THREADS) as pool:
        yield pool


def start_reads(harness: CheckerHarness, pool: ThreadPoolExecutor) -> list[Future[int]]:
    """Start reads, and wait until all of them wait for a result."""
    before = harness.database.waiting_reads
    reads = [pool.submit(harness.read) for _ in range(THREADS)]
    wait_until(lambda: harness.database.waiting_reads == before + THREADS)
    return reads


def test_waiting_reads_share_the_check_that_is_sent_after_them(
    harness: CheckerHarness, pool: ThreadPoolExecutor
) -> None:
    harness.reader.answers.clear()
    first = start_reads(harness, pool)
    harness.reader.server_changes = 1
    # the check in progress was sent before these reads, and before the change
    second = start_reads(harness, pool)
    harness.reader.answers.set()
    assert all(read.result() in (0, 1) for read in first)
    assert [read.result() for read in second] == [1] * THREADS
    assert 2 <= harness.reader.calls.count("send") <= 3


def test_each_read_alone_sends_a_check(harness: CheckerHarness) -> None:
    for changes in range(3):
        harness.reader.server_changes = changes
        assert harness.read() == changes
    assert harness.reader.calls == ["send"] * 3


def test_failure_fails_all_waiting_reads_at_once(
    harness: CheckerHarness, pool: ThreadPoolExecutor
) -> None:
    harness.reader.answers.clear()
    reads = start_reads(harness, pool)
    # of the check, and of the new connection
    harness.reader.errors = [DriverError(), DriverError()]
    harness.reader.answers.set()
    for read in reads:
        with pytest.raises(StoreUnavailable):
            read.result()
    assert harness.reader.calls.count("connect") == 1
    assert not harness.reader.is_connected
    assert harness.read() == 0


def test_lost_connection_is_replaced_within_the_read(harness: CheckerHarness) -> None:
    harness.reader.errors = [DriverError()]
    harness.reader.server_changes = 3
    assert harness.read() == 3
    assert harness.applied == [0, 3]
    assert harness.reader.calls == ["send", "connect", "send"]


def test_silent_connection_is_replaced_within_the_read(
    harness: CheckerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_setup, "PING_TIMEOUT", 0.01)
    harness.reader.answers.clear()
    connect = harness.reader.connect

    def reconnect() -> None:
        connect()
        harness.reader.answers.set()

    monkeypatch.setattr(harness.reader, "connect", reconnect)
    assert harness.read() == 0
    assert harness.applied == [0, 0]


def test_silent_server_is_unavailable(
    harness: CheckerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_setup, "PING_TIMEOUT", 0.01)
    monkeypatch.setattr(answer_timeout, "REQUEST_ANSWER_TIMEOUT", 0.01)
    harness.reader.answers.clear()
    with pytest.raises(StoreUnavailable, match="vmapi's database does not answer"):
        harness.read()
    assert not harness.reader.is_connected


def test_quick_answer_is_awaited_in_a_thread_that_must_not_wait(
    harness: CheckerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    # whatever the load of the machine
    monkeypatch.setattr(change_checker, "QUICK_ANSWER_SECONDS", 5.0)
    assert RepeatableRequest().serve_without_waiting(harness.read) == 0


@pytest.mark.parametrize("reason", ["slow", "changed", "not connected"])
def test_read_that_takes_longer_is_repeated_in_a_thread_that_may_wait(
    harness: CheckerHarness, reason: str
) -> None:
    request = RepeatableRequest()
    if reason == "slow":
        harness.reader.answers.clear()
    harness.reader.is_connected = reason != "not connected"
    harness.reader.server_changes = 1 if reason == "changed" else 0
    with pytest.raises(WouldBlock):
        request.serve_without_waiting(harness.read)
    harness.reader.answers.set()
    assert request.serve_again(harness.read) == harness.reader.server_changes


def test_one_check_serves_all_reads_of_a_batch(
    harness: CheckerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_checker, "QUICK_ANSWER_SECONDS", 5.0)
    for batch in (object(), object()):
        for _ in range(3):
            RepeatableRequest(batch).serve_without_waiting(harness.read)
    assert harness.reader.calls == ["send"] * 2


def test_read_of_a_batch_that_may_wait_sends_a_check(harness: CheckerHarness) -> None:
    request = RepeatableRequest(object())
    for _ in range(2):
        # it may have changed something itself
        request.serve_again(harness.read)
    assert harness.reader.calls == ["send"] * 2


def test_failed_check_serves_no_other_read_of_its_batch(harness: CheckerHarness) -> None:
    batch = object()
    harness.reader.errors = [DriverError()]
    for _ in range(2):
        with pytest.raises(WouldBlock):
            RepeatableRequest(batch).serve_without_waiting(harness.read)


def test_check_that_takes_long_is_not_awaited_shortly(
    harness: CheckerHarness, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.reader.answers.clear()
    reads = start_reads(harness, pool)
    # a read that waited shortly would wait for the whole test
    monkeypatch.setattr(change_checker, "QUICK_ANSWER_SECONDS", WAIT_SECONDS)
    with pytest.raises(WouldBlock):
        RepeatableRequest().serve_without_waiting(harness.read)
    harness.reader.answers.set()
    assert [read.result() for read in reads] == [0] * THREADS


def test_check_without_a_quick_result_is_not_awaited_shortly_again(
    harness: CheckerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness.reader.answers.clear()
    with pytest.raises(WouldBlock):
        RepeatableRequest().serve_without_waiting(harness.read)
    receive = Mock(wraps=harness.reader.receive)
    monkeypatch.setattr(harness.reader, "receive", receive)
    with pytest.raises(WouldBlock):
        RepeatableRequest().serve_without_waiting(harness.read)
    assert receive.mock_calls == [call(0)]


def test_late_result_of_an_older_check_is_not_used(harness: CheckerHarness) -> None:
    harness.reader.answers.clear()
    with pytest.raises(WouldBlock):
        RepeatableRequest().serve_without_waiting(harness.read)
    harness.reader.server_changes = 1
    harness.reader.answers.set()
    assert harness.read() == 1
    assert harness.reader.calls == ["send", "send"]


def test_clocks_are_those_of_a_check_of_which_the_changes_are_applied(
    harness: CheckerHarness,
) -> None:
    for changes in (3, 5):
        harness.reader.server_changes = changes
        harness.read()
        assert harness.checker.clocks.now == changes
    assert harness.clocks_before == [0, 0, 3]
