"""The slots of event streams: a limit for the process, and one for each caller."""

from threading import Semaphore

import pytest

from vmapi.errors import RateLimited
from vmapi.services.events.slots import StreamSlots

FULL = "All slots are in use: at most 3 event streams are open here."
CALLER_LIMIT = "You have 2 open event streams, the maximum."


def refusal(slots: StreamSlots, caller: str) -> str:
    with pytest.raises(RateLimited) as caught:
        slots.acquire(caller)
    return caught.value.detail


def test_slots_limit_each_caller_and_the_process() -> None:
    slots = StreamSlots(Semaphore(9), 3, 2)
    for caller in ("a", "a", "b"):
        slots.acquire(caller)
    assert [refusal(slots, caller) for caller in "abc"] == [CALLER_LIMIT, FULL, FULL]
    slots.release("a")
    slots.acquire("c")
    assert refusal(slots, "a") == FULL
    slots.release("b")
    slots.acquire("a")


def test_refused_caller_holds_no_slot() -> None:
    shared = Semaphore(1)
    slots = StreamSlots(shared, 3, 2)
    slots.acquire("a")
    assert [refusal(slots, "b") for _ in range(5)] == [FULL] * 5
    slots.release("a")
    slots.acquire("b")
    assert not shared.acquire(blocking=False)
