"""The slot pool: the limits of each caller, of the pool, and of the shared capacity."""

from threading import Semaphore

import pytest

from vmapi.concurrency.slot_pool import CallerLimitReached, NoFreeSlot, PoolExhausted, SlotPool


def refusals(pool: SlotPool, *callers: str) -> list[type[NoFreeSlot] | None]:
    """Acquire a slot for each caller; return the class of the error for each, or None."""
    classes: list[type[NoFreeSlot] | None] = []
    for caller in callers:
        try:
            pool.acquire(caller)
        except NoFreeSlot as error:
            classes.append(type(error))
        else:
            classes.append(None)
    return classes


def test_caller_gets_no_more_slots_than_its_limit() -> None:
    pool = SlotPool(2)
    assert refusals(pool, "a", "a", "a", "b") == [None, None, CallerLimitReached, None]


def test_pool_gives_no_more_slots_than_its_total() -> None:
    pool = SlotPool(2, 3)
    assert refusals(pool, "a", "a", "b", "c") == [None, None, None, PoolExhausted]


def test_pools_share_the_capacity() -> None:
    capacity = Semaphore(2)
    waits, streams = SlotPool(9, capacity=capacity), SlotPool(9, capacity=capacity)
    assert refusals(waits, "a") + refusals(streams, "a", "b") == [None, None, PoolExhausted]
    waits.release("a")
    assert refusals(streams, "b") == [None]


def test_released_slot_can_be_acquired_again() -> None:
    pool = SlotPool(1, capacity=Semaphore(1))
    for caller in ("a", "a", "b"):
        pool.acquire(caller)
        pool.release(caller)


def test_refused_caller_takes_nothing_from_the_capacity() -> None:
    capacity = Semaphore(2)
    pool = SlotPool(1, capacity=capacity)
    pool.acquire("a")
    with pytest.raises(CallerLimitReached):
        pool.acquire("a")
    assert capacity.acquire(blocking=False)
