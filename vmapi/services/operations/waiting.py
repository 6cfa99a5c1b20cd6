"""Holding an answer back until an operation is over."""

import threading
import time
from collections.abc import Callable

from vmapi.concurrency.slot_pool import NoFreeSlot, SlotPool
from vmapi.domain.operation import Operation

OPERATION_POLL_INTERVAL = 0.25
"""Seconds between two looks at an operation that another process may be carrying on."""


class OperationWaiter:
    """At most `places` threads wait at a time, or listen to events; the others are not kept.

    Of one caller, at most `each` wait. `get` looks an operation up; nobody is kept once `draining`
    says that the process stops.
    """

    def __init__(
        self,
        get_operation: Callable[[str], Operation],
        slots: int,
        per_caller: int,
        draining: Callable[[], bool],
    ) -> None:
        self._get_operation = get_operation
        self.slots = threading.Semaphore(slots)
        self._pool = SlotPool(self.slots, per_caller)
        self._draining = draining
        self._progress = threading.Condition()

    def notify_all(self) -> None:
        """Say that an operation of this process has moved on."""
        with self._progress:
            self._progress.notify_all()

    def wait_until(
        self,
        operation: Operation,
        condition: Callable[[Operation], bool],
        seconds: float,
        caller: str | None = None,
    ) -> Operation:
        """Return the operation once it is enough, or as it is when the time or the place is up.

        Who waits is the `caller`; unless one is named, who asked for the operation.
        """
        who = caller or operation.requested_by
        if condition(operation):
            return operation
        try:
            self._pool.acquire(who)
        except NoFreeSlot:
            return operation
        try:
            end = time.monotonic() + seconds
            while not condition(operation) and not self._draining():
                left = end - time.monotonic()
                if left <= 0:
                    break
                with self._progress:
                    self._progress.wait(min(OPERATION_POLL_INTERVAL, left))
                operation = self._get_operation(operation.id)
            return operation
        finally:
            self._pool.release(who)


def is_finished(operation: Operation) -> bool:
    """Return whether an operation is finished: a condition for `wait_until`."""
    return operation.is_finished
