"""The operations of this process, in memory."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from vmapi.errors import NameTaken, OperationNotFound, TaskInProgress
from vmapi.models.lifecycle import Action
from vmapi.models.operation import Operation, OperationStatus


class StaleOperation(Exception):
    """Somebody else has moved this operation on since it was read."""


class OperationStore:
    """Keeps operations, and what there may be just one of: the unfinished one of a VM, a name.

    Finished ones beyond `kept` are forgotten, the oldest first.
    """

    def __init__(self, clock: Callable[[], datetime], kept: int = 10_000) -> None:
        self._clock = clock
        self._kept = kept
        self._lock = threading.Lock()
        self._unfinished: OrderedDict[str, Operation] = OrderedDict()
        self._finished: OrderedDict[str, Operation] = OrderedDict()
        self._leased: set[str] = set()

    def add(self, operation: Operation) -> None:
        """Keep a new operation; a delete ends whatever is under way with its VM.

        Raises TaskInProgress when the VM has an unfinished one, NameTaken when its name is claimed.
        """
        with self._lock:
            self._check_name(operation)
            for other in self._of_vm(operation.vm_id):
                if operation.action is not Action.DELETE:
                    raise TaskInProgress(f"The VM's {other.action} is still under way.")
                if other.action is not Action.DELETE:
                    self._finish(
                        replace(
                            other,
                            status=OperationStatus.SUPERSEDED,
                            finished_at=self._clock(),
                            revision=other.revision + 1,
                        )
                    )
            self._unfinished[operation.id] = operation

    def discard(self, operation: Operation) -> None:
        """Forget an operation of which nothing was sent to the cloud."""
        with self._lock:
            self._unfinished.pop(operation.id, None)

    def save(self, operation: Operation) -> Operation:
        """Keep the operation's new state and return it with its new revision.

        Raises StaleOperation when it has been moved on, or superseded, since it was read.
        """
        with self._lock:
            kept = self._unfinished.get(operation.id)
            if kept is None or kept.revision != operation.revision:
                raise StaleOperation(operation.id)
            saved = replace(operation, revision=operation.revision + 1)
            if saved.finished:
                self._finish(saved)
            else:
                self._unfinished[saved.id] = saved
            return saved

    def get(self, operation_id: str) -> Operation:
        """Return an operation. Raises OperationNotFound."""
        with self._lock:
            found = self._unfinished.get(operation_id) or self._finished.get(operation_id)
        if found is None:
            raise OperationNotFound(f"There is no operation {operation_id}.")
        return found

    def all(self) -> list[Operation]:
        """Return every operation that is remembered, the newest first."""
        with self._lock:
            every = [*self._finished.values(), *self._unfinished.values()]
        return sorted(every, key=lambda o: (o.created_at, o.id), reverse=True)

    def unfinished(self) -> list[Operation]:
        """Return the operations that are not over, the oldest first."""
        with self._lock:
            return list(self._unfinished.values())

    def unfinished_of(self, vm_id: str) -> Operation | None:
        """Return what is under way with a VM: the newest, so a delete before what it ended."""
        with self._lock:
            return next(iter(reversed(self._of_vm(vm_id))), None)

    @contextmanager
    def lease(self, operation_id: str) -> Iterator[bool]:
        """Hold the right to advance an operation; False when somebody else holds it."""
        with self._lock:
            got = operation_id not in self._leased
            if got:
                self._leased.add(operation_id)
        try:
            yield got
        finally:
            if got:
                with self._lock:
                    self._leased.discard(operation_id)

    def _of_vm(self, vm_id: str | None) -> list[Operation]:
        if vm_id is None:
            return []
        return [other for other in self._unfinished.values() if other.vm_id == vm_id]

    def _check_name(self, operation: Operation) -> None:
        name = operation.claimed_name
        for other in self._unfinished.values():
            if name is not None and other.claimed_name == name:
                raise NameTaken(
                    f"The name {name} is being given to another VM.",
                    **({"vm_id": other.vm_id} if other.vm_id else {"operation_id": other.id}),
                )

    def _finish(self, operation: Operation) -> None:
        self._unfinished.pop(operation.id, None)
        self._finished[operation.id] = operation
        while len(self._finished) > self._kept:
            self._finished.popitem(last=False)
