"""Delay the response to a request until its operation has made progress.

Each waiting request occupies a thread of the server, so their number is bounded.
"""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from vmapi.concurrency.slot_pool import NoFreeSlot, SlotPool
from vmapi.domain.operation import Operation

State = TypeVar("State")

OPERATION_POLL_INTERVAL = 0.25
"""Seconds between two reads of an operation, which another process may reconcile."""


class OperationWaiter:
    """Blocks up to `slots` request threads, and up to `per_caller` of one caller.

    Further callers return at once. Event streams that hold a thread use the same slots.
    `get_operation` reads an operation; waiting ends when `draining` returns True, before the
    process stops.
    """

    def __init__(
        self,
        get_operation: Callable[[str], Operation],
        slots: int,
        per_caller: int,
        draining: Callable[[], bool],
    ) -> None:
        self.get_operation = get_operation
        self.slots = threading.Semaphore(slots)
        self._pool = SlotPool(per_caller, capacity=self.slots)
        self._draining = draining
        self._progress = threading.Condition()

    def notify_all(self) -> None:
        """Wake the waiting threads: this process has reconciled an operation."""
        with self._progress:
            self._progress.notify_all()

    def wait_until(
        self,
        operation: Operation,
        condition: Callable[[Operation], bool],
        seconds: float,
        caller: str | None = None,
    ) -> Operation:
        """Return the operation when `condition` holds, or its last state after `seconds`.

        Return at once without a free slot. The slot belongs to `caller`, by default the user of
        the operation. Raises OperationNotFound, StoreUnavailable.
        """
        owner = caller or operation.requested_by
        read = partial(self.get_operation, operation.id)
        return self.wait_for(operation, read, condition, seconds, owner)

    def wait_for(
        self,
        state: State,
        read: Callable[[], State],
        condition: Callable[[State], bool],
        seconds: float,
        owner: str,
    ) -> State:
        """Return a state when `condition` holds, or the last one after `seconds`.

        `read` returns the current state. Return at once if `owner` gets no slot. Raises the errors
        of `read`.
        """
        if condition(state):
            return state
        try:
            self._pool.acquire(owner)
        except NoFreeSlot:
            return state
        try:
            return self._poll_until(state, read, condition, time.monotonic() + seconds)
        finally:
            self._pool.release(owner)

    def _poll_until(
        self,
        state: State,
        read: Callable[[], State],
        condition: Callable[[State], bool],
        deadline: float,
    ) -> State:
        while not condition(state) and not self._draining():
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                break
            with self._progress:
                self._progress.wait(min(OPERATION_POLL_INTERVAL, remaining))
            state = read()
        return state


def is_finished(operation: Operation) -> bool:
    """Return whether an operation is finished: a condition for `wait_until`."""
    return operation.is_finished
