"""Holding an answer back."""

import threading
import time
from dataclasses import replace

import pytest

from tests.support.factories import OPERATION_1
from vmapi.domain.operation import Operation, OperationStatus
from vmapi.errors import OperationNotFound
from vmapi.services.operations.waiting import OperationWaiter

OVER = replace(OPERATION_1, status=OperationStatus.SUCCEEDED)
LONG = 60.0


def finished(operation: Operation) -> bool:
    return operation.is_finished


class ScriptedLookup:
    """Returns these, one a look, the last one over and over."""

    def __init__(self, *operations: Operation) -> None:
        self.states = list(operations)
        self.called = threading.Event()

    def __call__(self, operation_id: str) -> Operation:
        self.called.set()
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]


def test_what_is_enough_is_not_looked_at() -> None:
    store = ScriptedLookup(OVER)
    assert OperationWaiter(store, 1, 1, lambda: False).wait_until(OVER, finished, LONG) is OVER
    assert not store.called.is_set()


def test_it_looks_until_it_is_enough() -> None:
    store = ScriptedLookup(OPERATION_1, OVER)
    assert (
        OperationWaiter(store, 1, 1, lambda: False).wait_until(OPERATION_1, finished, LONG) is OVER
    )


@pytest.mark.parametrize("seconds", [0, 0.01])
def test_it_gives_up(seconds: float) -> None:
    waiting = OperationWaiter(ScriptedLookup(OPERATION_1), 1, 1, lambda: False)
    assert waiting.wait_until(OPERATION_1, finished, seconds) is OPERATION_1


def test_who_finds_no_place_is_not_kept() -> None:
    waiting = OperationWaiter(ScriptedLookup(OVER), 0, 1, lambda: False)
    assert waiting.wait_until(OPERATION_1, finished, LONG) is OPERATION_1


def test_so_many_of_one_caller_wait_and_others_have_places() -> None:
    coming = ["a", "b", "b", "c"]
    told: list[tuple[str, bool]] = []

    def come(caller: str) -> bool:
        return waiting.wait_until(OPERATION_1, finished, LONG, caller).is_finished

    def look(_: str) -> Operation:
        # the others come while one waits
        while coming:
            caller = coming.pop(0)
            told.append((caller, come(caller)))
        return OVER

    waiting = OperationWaiter(look, 2, 1, lambda: False)
    assert come("a")
    assert told == [("a", False), ("b", False), ("c", False), ("b", True)]
    assert [come(caller) for caller in "abc"] == [True, True, True]


def test_who_asked_for_an_operation_waits_unless_another_does() -> None:
    theirs = OPERATION_1.requested_by
    met: list[Operation] = []

    def look(_: str) -> Operation:
        met.append(waiting.wait_until(OPERATION_1, finished, LONG, theirs))
        return OVER

    waiting = OperationWaiter(look, 2, 1, lambda: False)
    assert waiting.wait_until(OPERATION_1, finished, LONG) is OVER
    assert met == [OPERATION_1]


def test_nobody_is_kept_by_a_process_that_drains() -> None:
    waiting = OperationWaiter(ScriptedLookup(OVER), 1, 1, lambda: True)
    assert waiting.wait_until(OPERATION_1, finished, LONG) is OPERATION_1


def test_a_place_is_given_back() -> None:
    def gone(_: str) -> Operation:
        raise OperationNotFound("gone")

    waiting = OperationWaiter(gone, 1, 1, lambda: False)
    for _ in range(3):
        with pytest.raises(OperationNotFound):
            waiting.wait_until(OPERATION_1, finished, LONG)


def test_who_waits_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmapi.services.operations.waiting.OPERATION_POLL_INTERVAL", LONG)
    store = ScriptedLookup(OVER)
    waiting = OperationWaiter(store, 1, 1, lambda: False)
    found: list[Operation] = []
    waiter = threading.Thread(
        target=lambda: found.append(waiting.wait_until(OPERATION_1, finished, LONG)),
        daemon=True,
    )
    waiter.start()
    begun = time.monotonic()
    while waiter.is_alive() and time.monotonic() - begun < LONG / 2:
        waiting.notify_all()
        waiter.join(0.01)
    assert found == [OVER]
