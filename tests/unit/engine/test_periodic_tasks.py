"""The periodic tasks of the engine: each one repeats, whatever the others do."""

import threading
import time
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.support.blocking_source import GUARD_TIMEOUT, BlockingSource, wait_until
from tests.support.no_free_thread import refusing_threads
from vmapi.engine.thread import ENGINE_THREADS, EngineThread
from vmapi.errors import StoreUnavailable
from vmapi.services.periodic import PeriodicTask

NAME = "test-task"


@pytest.fixture
def engine() -> Iterator[EngineThread]:
    engine = EngineThread(tick_seconds=0.001)
    yield engine
    engine.stop()


def test_task_repeats_after_errors_until_the_engine_stops(engine: EngineThread) -> None:
    errors = [StoreUnavailable("no response"), ZeroDivisionError("defect")]
    calls = []

    def task() -> None:
        calls.append(threading.current_thread().name)
        if errors:
            raise errors.pop(0)

    engine.configure(BlockingSource(), {NAME: PeriodicTask(task, 0.001)})
    with capture_logs() as logs:
        engine.notify()
        wait_until(lambda: len(calls) >= 4)
        engine.stop()
    assert set(calls) == {NAME}
    lines = [(line["event"], line["log_level"], line["task"], line.get("reason")) for line in logs]
    assert lines == [
        ("periodic task deferred", "debug", NAME, "no response"),
        ("periodic task failed", "error", NAME, None),
    ]
    count = len(calls)
    time.sleep(0.01)
    assert len(calls) == count


def test_task_runs_while_all_operations_block(engine: EngineThread) -> None:
    ids = [f"op-{number}" for number in range(ENGINE_THREADS)]
    source, called = BlockingSource(*ids), threading.Event()
    source.blocked_ids = set(ids)

    def task() -> None:
        if len(source.started_ids) == ENGINE_THREADS:
            called.set()

    engine.configure(source, {NAME: PeriodicTask(task, 0.001)})
    engine.notify()
    assert called.wait(GUARD_TIMEOUT)
    source.released.set()


class FastEvent(threading.Event):
    """An event with short waits in the thread of the task, which `timeouts` records."""

    def __init__(self) -> None:
        super().__init__()
        self.timeouts: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        if threading.current_thread().name != NAME:
            return super().wait(timeout)
        self.timeouts.append(timeout)
        return super().wait(0.001)


def test_task_waits_a_second_before_each_call() -> None:
    stopping = FastEvent()
    engine = EngineThread(tick_seconds=0.001, stopping=stopping)
    waits_at_call: list[int] = []
    task = PeriodicTask(lambda: waits_at_call.append(len(stopping.timeouts)))
    engine.configure(BlockingSource(), {NAME: task})
    engine.notify()
    wait_until(lambda: len(waits_at_call) >= 3)
    engine.stop()
    # one wait before each call, before the first one too
    assert waits_at_call == list(range(1, len(waits_at_call) + 1))
    assert set(stopping.timeouts) == {1.0}


def test_task_that_is_not_due_is_not_called(engine: EngineThread) -> None:
    checks: list[int] = []
    calls: list[int] = []

    def is_due() -> bool:
        checks.append(1)
        return len(checks) == 3

    task = PeriodicTask(lambda: calls.append(len(checks)), 0.001, is_due=is_due)
    engine.configure(BlockingSource(), {NAME: task})
    engine.notify()
    wait_until(lambda: len(checks) >= 5)
    engine.stop()
    assert calls == [3]


def test_calls_of_a_concurrent_task_overlap_and_finish_before_a_stop(engine: EngineThread) -> None:
    started: list[str] = []
    finished: list[str] = []
    unblock = threading.Event()
    remaining = [1, 1]

    def task() -> None:
        started.append(threading.current_thread().name)
        assert unblock.wait(GUARD_TIMEOUT)
        finished.append(threading.current_thread().name)
        raise StoreUnavailable("no response")

    def is_due() -> bool:
        return bool(remaining) and remaining.pop() == 1

    concurrent_task = PeriodicTask(task, 0.001, is_due=is_due, max_concurrent=2)
    engine.configure(BlockingSource(), {NAME: concurrent_task})
    with capture_logs() as logs:
        engine.notify()
        wait_until(lambda: len(started) == 2)
        stopping = threading.Thread(target=engine.stop)
        stopping.start()
        assert finished == []
        unblock.set()
        stopping.join(GUARD_TIMEOUT)
    assert sorted(finished) == sorted(started)
    assert len(set(started)) == 2
    assert all(name.startswith(NAME) for name in started)
    assert {line["event"] for line in logs} == {"periodic task deferred"}


def test_calls_that_hang_leave_no_others_to_be_made_up_for() -> None:
    checks: list[int] = []
    started: list[int] = []
    unblock = threading.Event()

    def task() -> None:
        started.append(len(checks))
        assert unblock.wait(GUARD_TIMEOUT)

    def is_due() -> bool:
        checks.append(1)
        return not unblock.is_set()

    class CountedEvent(threading.Event):
        ticks = 0

        def wait(self, timeout: float | None = None) -> bool:
            self.ticks += threading.current_thread().name == NAME
            return super().wait(timeout)

    stopping = CountedEvent()
    engine = EngineThread(tick_seconds=0.001, stopping=stopping)
    hanging_task = PeriodicTask(task, 0.001, is_due=is_due, max_concurrent=2)
    engine.configure(BlockingSource(), {NAME: hanging_task})
    engine.notify()
    wait_until(lambda: stopping.ticks >= 20)
    unblock.set()
    engine.stop()
    assert len(started) == 2


def test_task_without_a_free_thread_starts_at_the_next_notification(engine: EngineThread) -> None:
    called = threading.Event()
    engine.configure(BlockingSource(), {NAME: PeriodicTask(called.set, 0.001)})
    with refusing_threads(NAME), pytest.raises(RuntimeError):
        engine.notify()
    engine.notify()
    assert called.wait(GUARD_TIMEOUT)
