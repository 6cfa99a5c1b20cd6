"""The thread pool with groups of tasks that take turns."""

import threading
from collections.abc import Iterator
from functools import partial

import pytest

from vmapi.concurrency.fair_executor import FairExecutor

TIMEOUT = 30.0


@pytest.fixture
def executor() -> Iterator[FairExecutor]:
    executor = FairExecutor(1, "fair")
    yield executor
    executor.shutdown()


def test_groups_take_turns(executor: FairExecutor) -> None:
    is_submitted, order = threading.Event(), list[str]()
    executor.submit("first", partial(is_submitted.wait, TIMEOUT))
    futures = [
        executor.submit(name[0], partial(order.append, name))
        for name in ("a1", "a2", "a3", "a4", "b1", "b2", "c1")
    ]
    is_submitted.set()
    for future in futures:
        assert future.result(TIMEOUT) is None
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]


def test_result_and_error_are_in_the_future(executor: FairExecutor) -> None:
    def fail() -> None:
        raise KeyError("defect")

    error = executor.submit("a", fail).exception(TIMEOUT)
    assert isinstance(error, KeyError)
    assert executor.submit("a", lambda: 1).result(TIMEOUT) == 1


def test_cancelled_task_is_not_run(executor: FairExecutor) -> None:
    is_cancelled, calls = threading.Event(), list[int]()
    executor.submit("a", partial(is_cancelled.wait, TIMEOUT))
    assert executor.submit("a", partial(calls.append, 1)).cancel()
    last = executor.submit("a", partial(calls.append, 2))
    is_cancelled.set()
    last.result(TIMEOUT)
    assert calls == [2]


def test_shutdown_starts_no_task() -> None:
    executor, is_shut_down = FairExecutor(1, "fair"), threading.Event()
    running = executor.submit("a", partial(is_shut_down.wait, TIMEOUT))
    waiting = executor.submit("b", int)
    executor.shutdown()
    is_shut_down.set()
    assert running.result(TIMEOUT)
    assert not waiting.done()
