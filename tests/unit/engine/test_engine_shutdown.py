"""What hangs in the engine holds up nobody else, and how it ends."""

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


def test_one_that_hangs_holds_up_no_other_and_is_not_begun_twice(engine: EngineThread) -> None:
    work = BlockingSource("a", "b", "c")
    work.blocked_ids = {"a"}
    engine.configure(work, {})
    engine.notify()
    wait_until(lambda: work.pending_ids == ["a"])
    work.pending_ids.append("d")
    wait_until(lambda: work.pending_ids == ["a"])
    begun = work.scans
    wait_until(lambda: work.scans > begun + 5)
    assert sorted(work.started_ids) == ["a", "b", "c", "d"]
    work.released.set()
    wait_until(lambda: work.pending_ids == [])
    assert work.started_ids.count("a") == 1


def test_one_that_is_not_over_yet_is_begun_again(engine: EngineThread) -> None:
    work = BlockingSource(*"aaa")
    engine.configure(work, {})
    engine.notify()
    wait_until(lambda: work.pending_ids == [])
    assert work.started_ids == ["a"] * 3


def test_so_many_are_begun_at_a_time(engine: EngineThread) -> None:
    ids = [f"op-{number}" for number in range(ENGINE_THREADS + 2)]
    work = BlockingSource(*ids)
    work.blocked_ids = set(ids)
    engine.configure(work, {})
    engine.notify()
    wait_until(lambda: len(work.started_ids) == ENGINE_THREADS)
    rounds = work.scans
    wait_until(lambda: work.scans > rounds + 5)
    assert len(work.started_ids) == ENGINE_THREADS
    work.released.set()
    wait_until(lambda: work.pending_ids == [])
    assert sorted(work.started_ids) == ids


def test_stopped_it_ends_what_is_begun_and_begins_nothing_that_waits(
    engine: EngineThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"op-{number}" for number in range(ENGINE_THREADS + 2)]
    work, struck = BlockingSource(*ids), threading.Event()
    work.blocked_ids = set(ids)
    shutdown = ThreadPoolExecutor.shutdown

    def tell(pool: ThreadPoolExecutor, wait: bool = True, *, cancel_futures: bool = False) -> None:
        shutdown(pool, False, cancel_futures=cancel_futures)
        struck.set()
        shutdown(pool, wait)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", tell)
    engine.configure(work, {})
    engine.notify()
    wait_until(lambda: len(work.started_ids) == ENGINE_THREADS)
    stopping = threading.Thread(target=engine.stop)
    stopping.start()
    assert struck.wait(GUARD_TIMEOUT)
    assert stopping.is_alive()
    work.released.set()
    stopping.join(GUARD_TIMEOUT)
    assert not stopping.is_alive()
    assert (len(work.started_ids), len(work.pending_ids), live_thread_names()) == (
        ENGINE_THREADS,
        2,
        set(),
    )


def test_woken_and_stopped_at_once_it_ends() -> None:
    for _ in range(50):
        engine, start = EngineThread(tick_seconds=0.001), threading.Barrier(2)
        engine.configure(BlockingSource("a"), {})

        def wake(engine: EngineThread = engine, start: threading.Barrier = start) -> None:
            start.wait()
            engine.notify()

        waking = threading.Thread(target=wake)
        waking.start()
        start.wait()
        engine.stop()
        waking.join(GUARD_TIMEOUT)
        engine.stop()
        assert live_thread_names() == set()
