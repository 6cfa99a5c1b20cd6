"""The slots of event streams: limits for the process, for each caller, and for threads."""

from threading import Semaphore

import pytest

from tests.support.metrics import RecordedMetrics
from vmapi.errors import RateLimited
from vmapi.services.events.slots import StreamSlots

FULL = "All slots are in use: at most 3 event streams are open here."
CALLER_LIMIT = "You have 2 open event streams, the maximum."


def refusal(slots: StreamSlots, caller: str, *, holds_thread: bool = False) -> str:
    with pytest.raises(RateLimited) as caught:
        slots.acquire(caller, holds_thread=holds_thread)
    return caught.value.detail


def test_slots_limit_each_caller_and_the_process() -> None:
    slots = StreamSlots(3, 2, Semaphore(9), 9)
    for caller in ("a", "a", "b"):
        slots.acquire(caller, holds_thread=False)
    assert [refusal(slots, caller) for caller in "abc"] == [CALLER_LIMIT, FULL, FULL]
    slots.release("a", holds_thread=False)
    slots.acquire("c", holds_thread=False)
    assert refusal(slots, "a") == FULL
    slots.release("b", holds_thread=False)
    slots.acquire("a", holds_thread=False)


def test_limit_lowers_the_number_of_streams() -> None:
    slots = StreamSlots(9, 9, Semaphore(9), 9)
    slots.limit(3)
    slots.limit(7)
    for _ in range(3):
        slots.acquire("a", holds_thread=False)
    assert refusal(slots, "a") == FULL


def test_streams_without_a_thread_leave_the_threads_to_others() -> None:
    threads = Semaphore(1)
    slots = StreamSlots(9, 9, threads, 1)
    for _ in range(5):
        slots.acquire("a", holds_thread=False)
    assert threads.acquire(blocking=False)


def test_streams_that_hold_a_thread_share_the_threads() -> None:
    threads = Semaphore(4)
    slots = StreamSlots(9, 9, threads, 3)
    for _ in range(3):
        slots.acquire("a", holds_thread=True)
    assert refusal(slots, "b", holds_thread=True) == FULL
    assert threads.acquire(blocking=False)
    assert not threads.acquire(blocking=False)
    slots.release("a", holds_thread=True)
    assert threads.acquire(blocking=False)
    assert refusal(slots, "b", holds_thread=True) == FULL


@pytest.mark.parametrize("holds_thread", [False, True])
def test_refused_caller_holds_no_slot(holds_thread: bool) -> None:
    shared = Semaphore(3)
    slots = StreamSlots(3, 3, shared, 3)
    for _ in range(3):
        slots.acquire("a", holds_thread=holds_thread)
    assert [refusal(slots, "b", holds_thread=True) for _ in range(5)] == [FULL] * 5
    slots.release("a", holds_thread=holds_thread)
    slots.acquire("b", holds_thread=True)
    assert shared.acquire(blocking=False) is not holds_thread


def test_open_and_refused_streams_are_measured(metrics: RecordedMetrics) -> None:
    slots = StreamSlots(3, 2, Semaphore(9), 9)
    for caller in ("a", "a", "b"):
        slots.acquire(caller, holds_thread=False)
    assert [refusal(slots, caller) for caller in "ac"] == [CALLER_LIMIT, FULL]
    slots.release("b", holds_thread=False)
    samples = metrics.read()
    assert samples.sum("vmapi_event_streams") == 2
    for limit in ("caller", "process"):
        assert samples.sum("vmapi_event_streams_refused_total", limit=limit) == 1
