"""Who may listen."""

from threading import Semaphore

import pytest

from vmapi.errors import RateLimited
from vmapi.services.events.slots import Seats

FULL = "All places are taken; at most 3 event streams are open here."
ENOUGH = "You have 2 event streams open, the most you may."


def refused(seats: Seats, caller: str) -> str:
    with pytest.raises(RateLimited) as caught:
        seats.take(caller)
    return caught.value.detail


def test_so_many_of_one_and_of_all() -> None:
    seats = Seats(Semaphore(9), 3, 2)
    for caller in ("a", "a", "b"):
        seats.take(caller)
    assert [refused(seats, caller) for caller in "abc"] == [ENOUGH, FULL, FULL]
    seats.leave("a")
    seats.take("c")
    assert refused(seats, "a") == FULL
    seats.leave("b")
    seats.take("a")


def test_who_is_refused_holds_nothing() -> None:
    places = Semaphore(1)
    seats = Seats(places, 3, 2)
    seats.take("a")
    assert [refused(seats, "b") for _ in range(5)] == [FULL] * 5
    seats.leave("a")
    seats.take("b")
    assert not places.acquire(blocking=False)
