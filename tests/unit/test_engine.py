"""The engine starts when it is woken, goes on whatever happens, and stops."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
import structlog
from structlog.testing import capture_logs

from tests.unit.test_models import OPERATION
from vmapi.engine.thread import SLOWEST, EngineThread
from vmapi.models.operation import Operation

A, B = replace(OPERATION, id="a"), replace(OPERATION, id="b", request_id="req-b")
SOON = 10.0
"""Seconds that nothing here takes."""


class Work:
    """Operations that are over after so many looks."""

    def __init__(self, **looks: int) -> None:
        self.looks = looks
        self.over = threading.Event()
        self.broken = ""
        self.contexts: list[dict[str, object]] = []

    def unfinished(self) -> Sequence[Operation]:
        left = [op for op in (A, B) if self.looks.get(op.id)]
        if not left:
            self.over.set()
        return left

    def advance(self, operation: Operation) -> Operation:
        self.contexts.append(structlog.contextvars.get_contextvars())
        self.looks[operation.id] -= 1
        if operation.id == self.broken:
            raise RuntimeError("a defect")
        return operation


class Time:
    """A monotonic clock that goes on by itself, so that everything is due at each look."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture
def engine() -> Iterator[EngineThread]:
    engine = EngineThread(Time(SLOWEST), tick=0.001)
    yield engine
    engine.stop()


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("engine")]


def test_nothing_runs_before_it_is_woken(engine: EngineThread) -> None:
    engine.serve(Work(a=1))
    assert threads() == []


def test_it_works_until_everything_is_over_and_again_when_woken(engine: EngineThread) -> None:
    work = Work(a=3, b=1)
    engine.serve(work)
    engine.wake()
    assert work.over.wait(SOON)
    assert work.looks == {"a": 0, "b": 0}
    work.over.clear()
    work.looks["b"] = 2
    engine.wake()
    assert work.over.wait(SOON)
    assert work.looks == {"a": 0, "b": 0}
    assert threads().count("engine") == 1


def test_a_defect_does_not_stop_it(engine: EngineThread) -> None:
    work = Work(a=2, b=2)
    work.broken = "a"
    engine.serve(work)
    with capture_logs() as logs:
        engine.wake()
        assert work.over.wait(SOON)
    assert work.looks == {"a": 0, "b": 0}
    lines = {(line["event"], line["operation_id"], line["log_level"]) for line in logs}
    assert lines == {("an operation could not be advanced", "a", "error")}


def test_its_log_lines_carry_the_request_that_began_the_operation(engine: EngineThread) -> None:
    work = Work(b=1)
    engine.serve(work)
    engine.wake()
    assert work.over.wait(SOON)
    assert work.contexts == [{"request_id": "req-b", "user": "anonymous"}]


def test_stopped_it_ends_and_does_not_start_again(engine: EngineThread) -> None:
    work = Work(a=1_000_000)
    engine.serve(work)
    engine.wake()
    engine.stop()
    engine.wake()
    assert threads() == []
    assert work.looks["a"] > 0


def test_it_may_be_stopped_before_it_began() -> None:
    engine = EngineThread(Time(1))
    engine.stop()
    engine.wake()
    assert threads() == []


def test_it_may_be_woken_with_nothing_to_serve() -> None:
    engine = EngineThread(Time(1), tick=0.001)
    engine.wake()
    engine.stop()
    assert threads() == []


def test_what_takes_long_is_looked_at_less() -> None:
    time = Time(0)
    engine = EngineThread(time, tick=0.25)
    looks = []
    for tick in range(4 * 120):
        time.now = tick * 0.25
        if engine._due([A]):
            looks.append(time.now)
    gaps = [after - before for before, after in pairwise(looks)]
    assert gaps[:5] == [0.25] * 5
    assert gaps == sorted(gaps)
    assert gaps[-1] == SLOWEST


def test_what_is_over_is_forgotten() -> None:
    engine = EngineThread(Time(SLOWEST))
    assert engine._due([A, B]) == [A, B]
    assert engine._due([B]) == [B]
    assert set(engine._seen) == {"b"}
