"""Work for the engine that hangs until it is let go."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from tests.support.factories import OPERATION_1
from vmapi.domain.operation import Operation
from vmapi.domain.vm import VM
from vmapi.services.reconciler.poller import DueOperation

GUARD_TIMEOUT = 60.0
"""Seconds that nothing here takes."""


class BlockingSource:
    """Operations for the engine: `blocked_ids` wait for `released`, the others finish at once."""

    def __init__(self, *ids: str) -> None:
        self.pending_ids = list(ids)
        self.blocked_ids: set[str] = set()
        self.released = threading.Event()
        self.started_ids: list[str] = []
        self.scans = 0

    def list_leased(self) -> Sequence[Operation]:
        self.scans += 1
        return [replace(OPERATION_1, id=id) for id in list(self.pending_ids)]

    def list_due(self, operations: Sequence[Operation]) -> Sequence[DueOperation]:
        return [DueOperation(operation) for operation in operations]

    def reconcile(self, operation: Operation, snapshot: VM | None) -> Operation:
        self.started_ids.append(operation.id)
        if operation.id in self.blocked_ids:
            assert self.released.wait(GUARD_TIMEOUT)
        self.pending_ids.remove(operation.id)
        return operation


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something."""
    end = time.monotonic() + GUARD_TIMEOUT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def live_thread_names() -> set[str]:
    names = {thread.name for thread in threading.enumerate()}
    prefixes = ("engine", "maintenance", "incremental-sync", "full-sync")
    return {name for name in names if name.startswith(prefixes)}
