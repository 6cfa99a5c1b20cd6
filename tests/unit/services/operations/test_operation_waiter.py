"""Waiting requests: conditions, slots and notifications."""

import threading
import time
from dataclasses import replace

import pytest

from tests.support.factories import OPERATION_1
from vmapi.domain.operation import Operation, OperationStatus
from vmapi.errors import OperationNotFound
from vmapi.services.operations.waiting import OperationWaiter, is_finished

FINISHED = replace(OPERATION_1, status=OperationStatus.SUCCEEDED)
LONG_SECONDS = 60.0


class ScriptedLookup:
    """Returns these states one by one, and the last one from then on."""

    def __init__(self, *operations: Operation) -> None:
        self.states = list(operations)
        self.called = threading.Event()

    def __call__(self, operation_id: str) -> Operation:
        self.called.set()
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]


def test_wait_returns_at_once_if_the_condition_holds() -> None:
    lookup = ScriptedLookup(FINISHED)
    assert (
        OperationWaiter(lookup, 1, 1, lambda: False).wait_until(FINISHED, is_finished, LONG_SECONDS)
        is FINISHED
    )
    assert not lookup.called.is_set()


def test_operation_is_read_until_it_meets_the_condition() -> None:
    lookup = ScriptedLookup(OPERATION_1, FINISHED)
    assert (
        OperationWaiter(lookup, 1, 1, lambda: False).wait_until(
            OPERATION_1, is_finished, LONG_SECONDS
        )
        is FINISHED
    )


@pytest.mark.parametrize("seconds", [0, 0.01])
def test_wait_returns_the_last_state_after_its_timeout(seconds: float) -> None:
    waiter = OperationWaiter(ScriptedLookup(OPERATION_1), 1, 1, lambda: False)
    assert waiter.wait_until(OPERATION_1, is_finished, seconds) is OPERATION_1


def test_wait_without_a_free_slot_returns_at_once() -> None:
    waiter = OperationWaiter(ScriptedLookup(FINISHED), 0, 1, lambda: False)
    assert waiter.wait_until(OPERATION_1, is_finished, LONG_SECONDS) is OPERATION_1


def test_one_caller_leaves_slots_for_others() -> None:
    callers = ["a", "b", "b", "c"]
    results: list[tuple[str, bool]] = []

    def wait_for(caller: str) -> bool:
        return waiter.wait_until(OPERATION_1, is_finished, LONG_SECONDS, caller).is_finished

    def read(_: str) -> Operation:
        # these callers arrive while the first one waits
        while callers:
            caller = callers.pop(0)
            results.append((caller, wait_for(caller)))
        return FINISHED

    waiter = OperationWaiter(read, 2, 1, lambda: False)
    assert wait_for("a")
    assert results == [("a", False), ("b", False), ("c", False), ("b", True)]
    assert [wait_for(caller) for caller in "abc"] == [True, True, True]


def test_slot_belongs_to_the_user_of_the_operation_by_default() -> None:
    user = OPERATION_1.requested_by
    others: list[Operation] = []

    def read(_: str) -> Operation:
        others.append(waiter.wait_until(OPERATION_1, is_finished, LONG_SECONDS, user))
        return FINISHED

    waiter = OperationWaiter(read, 2, 1, lambda: False)
    assert waiter.wait_until(OPERATION_1, is_finished, LONG_SECONDS) is FINISHED
    assert others == [OPERATION_1]


def test_wait_returns_at_once_while_the_process_drains() -> None:
    waiter = OperationWaiter(ScriptedLookup(FINISHED), 1, 1, lambda: True)
    assert waiter.wait_until(OPERATION_1, is_finished, LONG_SECONDS) is OPERATION_1


def test_slot_is_released_after_an_error() -> None:
    def raise_not_found(_: str) -> Operation:
        raise OperationNotFound("none")

    waiter = OperationWaiter(raise_not_found, 1, 1, lambda: False)
    for _ in range(3):
        with pytest.raises(OperationNotFound):
            waiter.wait_until(OPERATION_1, is_finished, LONG_SECONDS)


def test_notify_all_wakes_a_waiting_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vmapi.services.operations.waiting.OPERATION_POLL_INTERVAL", LONG_SECONDS)
    lookup = ScriptedLookup(FINISHED)
    waiter = OperationWaiter(lookup, 1, 1, lambda: False)
    results: list[Operation] = []
    thread = threading.Thread(
        target=lambda: results.append(waiter.wait_until(OPERATION_1, is_finished, LONG_SECONDS)),
        daemon=True,
    )
    thread.start()
    started_at = time.monotonic()
    while thread.is_alive() and time.monotonic() - started_at < LONG_SECONDS / 2:
        waiter.notify_all()
        thread.join(0.01)
    assert results == [FINISHED]
