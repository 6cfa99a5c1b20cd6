"""Blocked operations and the shutdown of the engine."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.blocking_source import (
    GUARD_TIMEOUT,
    BlockingSource,
    live_thread_names,
    wait_until,
)
from vmapi.engine.thread import ENGINE_THREADS, EngineThread


@pytest.fixture
def engine() -> Iterator[EngineThread]:
    engine = EngineThread(tick_seconds=0.001)
    yield engine
    engine.stop()


def test_blocked_operation_delays_no_other_and_is_not_started_twice(engine: EngineThread) -> None:
    source = BlockingSource("a", "b", "c")
    source.blocked_ids = {"a"}
    engine.configure(source, {})
    engine.notify()
    wait_until(lambda: source.pending_ids == ["a"])
    source.pending_ids.append("d")
    wait_until(lambda: source.pending_ids == ["a"])
    scans_before = source.scans
    wait_until(lambda: source.scans > scans_before + 5)
    assert sorted(source.started_ids) == ["a", "b", "c", "d"]
    source.released.set()
    wait_until(lambda: source.pending_ids == [])
    assert source.started_ids.count("a") == 1


def test_unfinished_operation_is_reconciled_again(engine: EngineThread) -> None:
    source = BlockingSource(*"aaa")
    engine.configure(source, {})
    engine.notify()
    wait_until(lambda: source.pending_ids == [])
    assert source.started_ids == ["a"] * 3


def test_concurrent_operations_are_limited_to_the_thread_count(engine: EngineThread) -> None:
    ids = [f"op-{number}" for number in range(ENGINE_THREADS + 2)]
    source = BlockingSource(*ids)
    source.blocked_ids = set(ids)
    engine.configure(source, {})
    engine.notify()
    wait_until(lambda: len(source.started_ids) == ENGINE_THREADS)
    scans_before = source.scans
    wait_until(lambda: source.scans > scans_before + 5)
    assert len(source.started_ids) == ENGINE_THREADS
    source.released.set()
    wait_until(lambda: source.pending_ids == [])
    assert sorted(source.started_ids) == ids


def test_stop_waits_for_started_operations_and_starts_no_queued_one(
    engine: EngineThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"op-{number}" for number in range(ENGINE_THREADS + 2)]
    source, queue_cancelled = BlockingSource(*ids), threading.Event()
    source.blocked_ids = set(ids)
    shutdown = ThreadPoolExecutor.shutdown

    def shutdown_in_two_steps(
        pool: ThreadPoolExecutor, wait: bool = True, *, cancel_futures: bool = False
    ) -> None:
        shutdown(pool, False, cancel_futures=cancel_futures)
        queue_cancelled.set()
        shutdown(pool, wait)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", shutdown_in_two_steps)
    engine.configure(source, {})
    engine.notify()
    wait_until(lambda: len(source.started_ids) == ENGINE_THREADS)
    stopping = threading.Thread(target=engine.stop)
    stopping.start()
    assert queue_cancelled.wait(GUARD_TIMEOUT)
    assert stopping.is_alive()
    source.released.set()
    stopping.join(GUARD_TIMEOUT)
    assert not stopping.is_alive()
    assert (len(source.started_ids), len(source.pending_ids)) == (ENGINE_THREADS, 2)
    assert live_thread_names() == set()


def test_concurrent_notify_and_stop_leave_no_thread() -> None:
    for _ in range(50):
        engine, barrier = EngineThread(tick_seconds=0.001), threading.Barrier(2)
        engine.configure(BlockingSource("a"), {})

        def notify_engine(
            engine: EngineThread = engine, barrier: threading.Barrier = barrier
        ) -> None:
            barrier.wait()
            engine.notify()

        notifying = threading.Thread(target=notify_engine)
        notifying.start()
        barrier.wait()
        engine.stop()
        notifying.join(GUARD_TIMEOUT)
        engine.stop()
        assert live_thread_names() == set()
