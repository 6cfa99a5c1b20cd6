"""The engine starts when it is woken, goes on whatever happens, and stops."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
import structlog
from structlog.testing import capture_logs

from tests.support.factories import OPERATION_1, VM_1
from vmapi.domain.operation import Operation
from vmapi.domain.vm import VM
from vmapi.engine.thread import EngineThread
from vmapi.errors import StoreUnavailable
from vmapi.services.periodic import PeriodicTask
from vmapi.services.reconciler.poller import DueOperation

A, B = replace(OPERATION_1, id="a"), replace(OPERATION_1, id="b", request_id="req-b")
SOON = 10.0
"""Seconds that nothing here takes."""


class FakeSource:
    """Operations that are over after so many looks."""

    def __init__(self, **looks: int) -> None:
        self.looks = looks
        self.over = threading.Event()
        self.kept_house = threading.Event()
        self.broken = ""
        self.error: Exception = RuntimeError("a defect")
        self.away = 0
        self.gone = threading.Event()
        self.seen: dict[str, VM] = {}
        self.handed: dict[str, VM | None] = {}
        self.contexts: list[dict[str, object]] = []

    def list_due(self, mine: Sequence[Operation]) -> Sequence[DueOperation]:
        if self.away:
            self.away -= 1
            self.gone.set()
            raise StoreUnavailable("away")
        return [DueOperation(operation, self.seen.get(operation.id)) for operation in mine]

    def list_leased(self) -> Sequence[Operation]:
        left = [op for op in (A, B) if self.looks.get(op.id)]
        if not left:
            self.over.set()
        return left

    def keep_house(self) -> None:
        self.kept_house.set()

    def reconcile(self, operation: Operation, seen: VM | None) -> Operation:
        self.handed[operation.id] = seen
        self.contexts.append(structlog.contextvars.get_contextvars())
        self.looks[operation.id] -= 1
        if operation.id == self.broken:
            raise self.error
        return operation


@pytest.fixture
def engine() -> Iterator[EngineThread]:
    engine = EngineThread(tick_seconds=0.001)
    yield engine
    engine.stop()


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("engine")]


def test_nothing_runs_before_it_is_woken(engine: EngineThread) -> None:
    work = FakeSource(a=1)
    engine.configure(work, {"housekeeping": PeriodicTask(work.keep_house)})
    assert threads() == []


def test_it_works_until_everything_is_over_and_again_when_woken(engine: EngineThread) -> None:
    work = FakeSource(a=3, b=1)
    engine.configure(work, {"housekeeping": PeriodicTask(work.keep_house)})
    engine.notify()
    assert work.over.wait(SOON)
    assert work.looks == {"a": 0, "b": 0}
    work.over.clear()
    work.looks["b"] = 2
    engine.notify()
    assert work.over.wait(SOON)
    assert work.looks == {"a": 0, "b": 0}
    assert threads().count("engine") == 1


@pytest.mark.parametrize(
    ("error", "said", "level"),
    [
        (RuntimeError("a defect"), "reconcile failed", "error"),
        (StoreUnavailable("away"), "operation deferred", "warning"),
    ],
)
def test_an_operation_that_fails_to_advance_does_not_stop_it(
    engine: EngineThread, error: Exception, said: str, level: str
) -> None:
    work = FakeSource(a=2, b=2)
    work.broken, work.error = "a", error
    engine.configure(work, {"housekeeping": PeriodicTask(work.keep_house)})
    with capture_logs() as logs:
        engine.notify()
        assert work.over.wait(SOON)
    assert work.looks == {"a": 0, "b": 0}
    lines = {(line["event"], line["operation_id"], line["log_level"]) for line in logs}
    assert lines == {(said, "a", level)}


def test_its_log_lines_carry_the_request_that_began_the_operation(engine: EngineThread) -> None:
    work = FakeSource(b=1)
    engine.configure(work, {"housekeeping": PeriodicTask(work.keep_house)})
    engine.notify()
    assert work.over.wait(SOON)
    assert work.contexts == [{"request_id": "req-b", "user": "anonymous"}]


def test_stopped_it_ends_and_does_not_start_again(engine: EngineThread) -> None:
    work = FakeSource(a=1_000_000)
    engine.configure(work, {"housekeeping": PeriodicTask(work.keep_house)})
    engine.notify()
    engine.stop()
    engine.notify()
    assert threads() == []
    assert work.looks["a"] > 0


def test_it_may_be_stopped_before_it_began() -> None:
    engine = EngineThread()
    engine.stop()
    engine.notify()
    assert threads() == []


def test_it_may_be_woken_with_nothing_to_serve() -> None:
    engine = EngineThread(tick_seconds=0.001)
    engine.notify()
    engine.stop()
    assert threads() == []


def test_a_store_that_is_away_does_not_stop_it() -> None:
    work = FakeSource(a=1)
    engine = EngineThread(tick_seconds=0.001)
    engine.configure(work, {"housekeeping": PeriodicTask(work.keep_house)})
    work.away = 1
    with capture_logs() as logs:
        engine.notify()
        assert work.gone.wait(SOON)
        # a sweep comes two seconds later; who wakes it need not wait for that
        engine.notify()
        assert work.over.wait(SOON)
        engine.stop()
    assert work.looks == {"a": 0}
    assert [(line["event"], line["reason"]) for line in logs] == [
        ("store unavailable, engine paused", "away")
    ]


def test_it_hands_on_what_was_seen(engine: EngineThread) -> None:
    work = FakeSource(a=1, b=1)
    work.seen["a"] = VM_1
    engine.configure(work, {"housekeeping": PeriodicTask(work.keep_house)})
    engine.notify()
    assert work.over.wait(SOON)
    assert work.handed == {"a": VM_1, "b": None}
