"""Work for the engine that hangs until it is let go."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from tests.support.factories import OPERATION_1
from vmapi.domain.operation import Operation
from vmapi.domain.vm import VM
from vmapi.services.reconciler.poller import DueOperation

SOON = 10.0
"""Seconds that nothing here takes."""


class Work:
    """Operations of which some hang until they are let go; what is not, is over after one look."""

    def __init__(self, *ids: str) -> None:
        self.left = list(ids)
        self.hanging: set[str] = set()
        self.go = threading.Event()
        self.begun: list[str] = []
        self.rounds = 0

    def mine(self) -> Sequence[Operation]:
        self.rounds += 1
        return [replace(OPERATION_1, id=id) for id in list(self.left)]

    def ready(self, mine: Sequence[Operation]) -> Sequence[DueOperation]:
        return [DueOperation(operation) for operation in mine]

    def advance(self, operation: Operation, seen: VM | None) -> Operation:
        self.begun.append(operation.id)
        if operation.id in self.hanging:
            assert self.go.wait(SOON)
        self.left.remove(operation.id)
        return operation


def until(true: Callable[[], bool]) -> None:
    """Wait for something."""
    end = time.monotonic() + SOON
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


def alive() -> set[str]:
    names = {thread.name for thread in threading.enumerate()}
    return {name for name in names if name.startswith(("engine", "housekeeping", "sync"))}
