"""What hangs in the engine holds up nobody else, and how it ends."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.blocking_source import SOON, Work, alive, until
from vmapi.engine.thread import ENGINE_THREADS, EngineThread


@pytest.fixture
def engine() -> Iterator[EngineThread]:
    engine = EngineThread(tick_seconds=0.001)
    yield engine
    engine.stop()


def test_one_that_hangs_holds_up_no_other_and_is_not_begun_twice(engine: EngineThread) -> None:
    work = Work("a", "b", "c")
    work.hanging = {"a"}
    engine.configure(work, {})
    engine.notify()
    until(lambda: work.left == ["a"])
    work.left.append("d")
    until(lambda: work.left == ["a"])
    begun = work.rounds
    until(lambda: work.rounds > begun + 5)
    assert sorted(work.begun) == ["a", "b", "c", "d"]
    work.go.set()
    until(lambda: work.left == [])
    assert work.begun.count("a") == 1


def test_one_that_is_not_over_yet_is_begun_again(engine: EngineThread) -> None:
    work = Work(*"aaa")
    engine.configure(work, {})
    engine.notify()
    until(lambda: work.left == [])
    assert work.begun == ["a"] * 3


def test_so_many_are_begun_at_a_time(engine: EngineThread) -> None:
    ids = [f"op-{number}" for number in range(ENGINE_THREADS + 2)]
    work = Work(*ids)
    work.hanging = set(ids)
    engine.configure(work, {})
    engine.notify()
    until(lambda: len(work.begun) == ENGINE_THREADS)
    rounds = work.rounds
    until(lambda: work.rounds > rounds + 5)
    assert len(work.begun) == ENGINE_THREADS
    work.go.set()
    until(lambda: work.left == [])
    assert sorted(work.begun) == ids


def test_stopped_it_ends_what_is_begun_and_begins_nothing_that_waits(
    engine: EngineThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"op-{number}" for number in range(ENGINE_THREADS + 2)]
    work, struck = Work(*ids), threading.Event()
    work.hanging = set(ids)
    shutdown = ThreadPoolExecutor.shutdown

    def tell(pool: ThreadPoolExecutor, wait: bool = True, *, cancel_futures: bool = False) -> None:
        shutdown(pool, False, cancel_futures=cancel_futures)
        struck.set()
        shutdown(pool, wait)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", tell)
    engine.configure(work, {})
    engine.notify()
    until(lambda: len(work.begun) == ENGINE_THREADS)
    stopping = threading.Thread(target=engine.stop)
    stopping.start()
    assert struck.wait(SOON)
    assert stopping.is_alive()
    work.go.set()
    stopping.join(SOON)
    assert not stopping.is_alive()
    assert (len(work.begun), len(work.left), alive()) == (ENGINE_THREADS, 2, set())


def test_woken_and_stopped_at_once_it_ends() -> None:
    for _ in range(50):
        engine, start = EngineThread(tick_seconds=0.001), threading.Barrier(2)
        engine.configure(Work("a"), {})

        def wake(engine: EngineThread = engine, start: threading.Barrier = start) -> None:
            start.wait()
            engine.notify()

        waking = threading.Thread(target=wake)
        waking.start()
        start.wait()
        engine.stop()
        waking.join(SOON)
        engine.stop()
        assert alive() == set()
