"""The operations of this process, in memory."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from vmapi.errors import OperationNotFound
from vmapi.models.lifecycle import Action
from vmapi.models.operation import IdempotencyKey, Operation, OperationQuery, OperationStatus
from vmapi.models.page import Page, Paging
from vmapi.store.operations import (
    KEY_LIFE,
    Held,
    KeyTaken,
    OperationStore,
    StaleOperation,
    name_taken,
    under_way,
)


class MemoryOperations(OperationStore):
    """Forgets finished operations beyond `kept`, the oldest first."""

    def __init__(self, clock: Callable[[], datetime], kept: int = 10_000) -> None:
        self._clock = clock
        self._kept = kept
        self._lock = threading.RLock()
        self._unfinished: OrderedDict[str, Operation] = OrderedDict()
        self._finished: OrderedDict[str, Operation] = OrderedDict()
        self._keys: dict[tuple[str, str], str] = {}
        self._held = Held()

    def add(self, operation: Operation) -> None:
        """Keep a new operation. Raises KeyTaken, TaskInProgress, NameTaken."""
        with self._lock:
            if operation.key is not None and self.of_key(operation.key) is not None:
                raise KeyTaken
            self._check_name(operation)
            for other in self._of_vm(operation.vm_id):
                if operation.action is not Action.DELETE:
                    raise under_way()
                if other.action is not Action.DELETE:
                    self._finish(
                        replace(
                            other,
                            status=OperationStatus.SUPERSEDED,
                            finished_at=self._clock(),
                            revision=other.revision + 1,
                        )
                    )
            self._bind(operation)
            self._unfinished[operation.id] = operation
            self._held.take(operation.id)

    def of_key(self, key: IdempotencyKey) -> Operation | None:
        """Return the operation that a caller's key is bound to."""
        with self._lock:
            found = self._found(self._keys.get((key.caller, key.value), ""))
        if found is None or found.key is None or self._clock() - found.created_at >= KEY_LIFE:
            return None
        return found

    def discard(self, operation: Operation) -> None:
        """Forget an operation of which nothing was sent to the cloud."""
        with self._lock:
            self._unfinished.pop(operation.id, None)
        self._held.give(operation.id)

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
            found = self._found(operation_id)
        if found is None:
            raise OperationNotFound(f"There is no operation {operation_id}.")
        return found

    def find(self, query: OperationQuery, paging: Paging) -> Page[Operation]:
        """Return a page of the operations that are asked for, the newest first."""
        with self._lock:
            every = [*self._finished.values(), *self._unfinished.values()]
        found = [operation for operation in every if query.matches(operation)]
        return paging.of(sorted(found, key=lambda o: (o.created_at, o.id), reverse=True))

    def mine(self) -> Sequence[Operation]:
        """Return the operations that are not over, the oldest first."""
        with self._lock:
            return list(self._unfinished.values())

    def unfinished_of(self, vm_ids: Sequence[str]) -> dict[str, Operation]:
        """Return what is under way with each VM."""
        with self._lock:
            under_way = list(self._unfinished.values())
        return {each.vm_id: each for each in under_way if each.vm_id and each.vm_id in vm_ids}

    @contextmanager
    def lease(self, operation_id: str, *, fresh: bool = False) -> Iterator[bool]:
        """Hold the right to advance an operation."""
        mine = fresh or self._held.take(operation_id)
        try:
            yield mine
        finally:
            if mine:
                self._held.give(operation_id)

    def _found(self, operation_id: str) -> Operation | None:
        return self._unfinished.get(operation_id) or self._finished.get(operation_id)

    def _bind(self, operation: Operation) -> None:
        if operation.key is None:
            return
        pair = (operation.key.caller, operation.key.value)
        old = self._finished.get(self._keys.get(pair, ""))
        if old is not None:
            self._finished[old.id] = replace(old, key=None)
        self._keys[pair] = operation.id

    def _of_vm(self, vm_id: str | None) -> list[Operation]:
        if vm_id is None:
            return []
        return [other for other in self._unfinished.values() if other.vm_id == vm_id]

    def _check_name(self, operation: Operation) -> None:
        name = operation.claimed_name
        for other in self._unfinished.values():
            if name is not None and other.claimed_name == name:
                raise name_taken(operation, other)

    def _finish(self, operation: Operation) -> None:
        self._unfinished.pop(operation.id, None)
        self._finished[operation.id] = operation
        while len(self._finished) > self._kept:
            _, forgotten = self._finished.popitem(last=False)
            if forgotten.key is not None:
                self._keys.pop((forgotten.key.caller, forgotten.key.value), None)
