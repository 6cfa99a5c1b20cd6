"""Operations for tests of the store, and calls in many threads at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

from tests.support.fake_clock import Clock
from vmapi.domain.access.caller import IdempotencyKey
from vmapi.domain.lifecycle import Action, Verb
from vmapi.domain.operation import Operation, OperationQuery, OperationStatus, Step

IDEMPOTENCY_KEY = IdempotencyKey("me", "k-1", "f" * 64)
ALL_OPERATIONS = OperationQuery()


class OperationFactory:
    """Builds new and finished operations."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def __call__(
        self,
        id: str,
        action: Action = Action.STOP,
        vm_id: str | None = "vm",
        name: str | None = None,
        **more: Any,
    ) -> Operation:
        """Return a new operation."""
        return Operation(
            id=id,
            action=action,
            steps=more.pop("steps", (Step(Verb(action)),)),
            created_at=self._clock(),
            requested_by=more.pop("requested_by", "anonymous"),
            request_id=more.pop("request_id", "r"),
            vm_id=vm_id,
            reserved_name=name,
            **more,
        )

    def finished(self, operation: Operation, **more: Any) -> Operation:
        """Return a copy of an operation that is finished."""
        ended = {"status": OperationStatus.SUCCEEDED, "finished_at": self._clock(), **more}
        return replace(operation, **ended)


def succeeds(call: Callable[[], object], *refusals: type[Exception]) -> bool:
    """Return whether a call succeeds. Other exceptions than `refusals` propagate."""
    try:
        call()
    except refusals:
        return False
    return True


def run_concurrently(threads: int, call: Callable[[int], bool]) -> int:
    """Call a function in many threads at the same time, and count the calls that return True."""
    start = Barrier(threads)

    def run(number: int) -> bool:
        start.wait()
        return call(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads))).count(True)
