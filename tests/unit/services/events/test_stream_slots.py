"""Who may listen."""

from threading import Semaphore

import pytest

from vmapi.errors import RateLimited
from vmapi.services.events.slots import StreamSlots

FULL = "All places are taken; at most 3 event streams are open here."
ENOUGH = "You have 2 event streams open, the most you may."


def refused(seats: StreamSlots, caller: str) -> str:
    with pytest.raises(RateLimited) as caught:
        seats.acquire(caller)
    return caught.value.detail


def test_so_many_of_one_and_of_all() -> None:
    seats = StreamSlots(Semaphore(9), 3, 2)
    for caller in ("a", "a", "b"):
        seats.acquire(caller)
    assert [refused(seats, caller) for caller in "abc"] == [ENOUGH, FULL, FULL]
    seats.release("a")
    seats.acquire("c")
    assert refused(seats, "a") == FULL
    seats.release("b")
    seats.acquire("a")


def test_who_is_refused_holds_nothing() -> None:
    places = Semaphore(1)
    seats = StreamSlots(places, 3, 2)
    seats.acquire("a")
    assert [refused(seats, "b") for _ in range(5)] == [FULL] * 5
    seats.release("a")
    seats.acquire("b")
    assert not places.acquire(blocking=False)
