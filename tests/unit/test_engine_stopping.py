"""What hangs in the engine holds up nobody else, and how it ends."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from tests.unit.test_models import OPERATION
from vmapi.engine import thread as engines
from vmapi.engine.thread import PARALLEL, EngineThread
from vmapi.errors import StoreUnavailable
from vmapi.models.operation import Operation
from vmapi.models.vm import VM
from vmapi.services.poll import Ready

SOON = 10.0
"""Seconds that nothing here takes."""


class Work:
    """Operations of which some hang until they are let go; what is not, is over after one look."""

    def __init__(self, *ids: str) -> None:
        self.left = list(ids)
        self.hanging: set[str] = set()
        self.go = threading.Event()
        self.begun: list[str] = []
        self.rounds = 0

    def mine(self) -> Sequence[Operation]:
        self.rounds += 1
        return [replace(OPERATION, id=id) for id in list(self.left)]

    def ready(self, mine: Sequence[Operation]) -> Sequence[Ready]:
        return [Ready(operation) for operation in mine]

    def advance(self, operation: Operation, seen: VM | None) -> Operation:
        self.begun.append(operation.id)
        if operation.id in self.hanging:
            assert self.go.wait(SOON)
        self.left.remove(operation.id)
        return operation


@pytest.fixture
def engine() -> Iterator[EngineThread]:
    engine = EngineThread(tick=0.001)
    yield engine
    engine.stop()


def until(true: Callable[[], bool]) -> None:
    """Wait for something."""
    end = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def alive() -> set[str]:
    names = {thread.name for thread in threading.enumerate()}
    return {name for name in names if name.startswith(("engine", "housekeeping"))}


def nothing() -> None:
    """Be no chore."""


def test_one_that_hangs_holds_up_no_other_and_is_not_begun_twice(engine: EngineThread) -> None:
    work = Work("a", "b", "c")
    work.hanging = {"a"}
    engine.serve(work, nothing)
    engine.wake()
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
    engine.serve(work, nothing)
    engine.wake()
    until(lambda: work.left == [])
    assert work.begun == ["a"] * 3


def test_so_many_are_begun_at_a_time(engine: EngineThread) -> None:
    ids = [f"op-{number}" for number in range(PARALLEL + 2)]
    work = Work(*ids)
    work.hanging = set(ids)
    engine.serve(work, nothing)
    engine.wake()
    until(lambda: len(work.begun) == PARALLEL)
    rounds = work.rounds
    until(lambda: work.rounds > rounds + 5)
    assert len(work.begun) == PARALLEL
    work.go.set()
    until(lambda: work.left == [])
    assert sorted(work.begun) == ids


def test_stopped_it_ends_what_is_begun_and_begins_nothing_that_waits(
    engine: EngineThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [f"op-{number}" for number in range(PARALLEL + 2)]
    work, struck = Work(*ids), threading.Event()
    work.hanging = set(ids)
    shutdown = ThreadPoolExecutor.shutdown

    def tell(pool: ThreadPoolExecutor, wait: bool = True, *, cancel_futures: bool = False) -> None:
        shutdown(pool, False, cancel_futures=cancel_futures)
        struck.set()
        shutdown(pool, wait)

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", tell)
    engine.serve(work, nothing)
    engine.wake()
    until(lambda: len(work.begun) == PARALLEL)
    stopping = threading.Thread(target=engine.stop)
    stopping.start()
    assert struck.wait(SOON)
    assert stopping.is_alive()
    work.go.set()
    stopping.join(SOON)
    assert not stopping.is_alive()
    assert (len(work.begun), len(work.left), alive()) == (PARALLEL, 2, set())


def test_woken_and_stopped_at_once_it_ends() -> None:
    for _ in range(50):
        engine, start = EngineThread(tick=0.001), threading.Barrier(2)
        engine.serve(Work("a"), nothing)

        def wake(engine: EngineThread = engine, start: threading.Barrier = start) -> None:
            start.wait()
            engine.wake()

        waking = threading.Thread(target=wake)
        waking.start()
        start.wait()
        engine.stop()
        waking.join(SOON)
        engine.stop()
        assert alive() == set()


def test_house_is_kept_again_and_again_whatever_goes_wrong(
    engine: EngineThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "HOUSEKEEPING", 0.001)
    errors = [StoreUnavailable("away"), ZeroDivisionError("a defect")]
    kept = []

    def chores() -> None:
        kept.append(threading.current_thread().name)
        if errors:
            raise errors.pop(0)

    engine.serve(Work(), chores)
    with capture_logs() as logs:
        engine.wake()
        until(lambda: len(kept) >= 4)
        engine.stop()
    assert set(kept) == {"housekeeping"}
    assert [(line["event"], line["log_level"], line.get("reason")) for line in logs] == [
        ("housekeeping has to wait", "warning", "away"),
        ("housekeeping stumbled", "error", None),
    ]
    before = len(kept)
    time.sleep(0.01)
    assert len(kept) == before


def test_house_is_kept_while_everything_else_hangs(
    engine: EngineThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "HOUSEKEEPING", 0.001)
    ids = [f"op-{number}" for number in range(PARALLEL)]
    work, kept = Work(*ids), threading.Event()
    work.hanging = set(ids)

    def chores() -> None:
        if len(work.begun) == PARALLEL:
            kept.set()

    engine.serve(work, chores)
    engine.wake()
    assert kept.wait(SOON)
    work.go.set()


def test_house_is_kept_once_a_second(engine: EngineThread, monkeypatch: pytest.MonkeyPatch) -> None:
    assert engines.HOUSEKEEPING == 1.0
    waited: list[float | None] = []
    wait = engine._stopping.wait

    def quickly(timeout: float | None = None) -> bool:
        if threading.current_thread().name == "housekeeping":
            waited.append(timeout)
            return wait(0.001)
        return wait(timeout)

    monkeypatch.setattr(engine._stopping, "wait", quickly)
    kept: list[int] = []
    engine.serve(Work(), lambda: kept.append(len(waited)))
    engine.wake()
    until(lambda: len(kept) >= 3)
    engine.stop()
    # one wait of a second before each time, the first one as well
    assert kept == list(range(1, len(kept) + 1))
    assert set(waited) == {1.0}
