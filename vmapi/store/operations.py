"""What a store of operations does, wherever it keeps them."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import timedelta

from vmapi.errors import NameTaken, TaskInProgress
from vmapi.models.operation import IdempotencyKey, Operation, OperationQuery
from vmapi.models.page import Page, Paging


def name_taken(operation: Operation, holder: Operation) -> NameTaken:
    """Return the error for a name that another operation has claimed."""
    by = {"vm_id": holder.vm_id} if holder.vm_id else {"operation_id": holder.id}
    return NameTaken(f"The name {operation.claimed_name} is being given to another VM.", **by)


def under_way() -> TaskInProgress:
    """Return the error for a VM with which something is under way."""
    return TaskInProgress("Another change of the VM is still under way.")


KEY_LIFE = timedelta(hours=24)
"""How long a key stays bound to its operation."""


class StaleOperation(Exception):
    """Somebody else has moved this operation on since it was read."""


class OperationStore(ABC):
    """Keeps operations, and what there may be just one of: the unfinished one of a VM, a name.

    Safe to use from several threads. Any method may raise StoreUnavailable.
    """

    @abstractmethod
    def add(self, operation: Operation) -> None:
        """Keep a new operation, held by this thread; a delete ends what is under way with its VM.

        Raises KeyTaken when its idempotency key is bound, TaskInProgress when the VM has an
        unfinished one, NameTaken when its name is claimed.
        """

    @abstractmethod
    def of_key(self, key: IdempotencyKey) -> Operation | None:
        """Return the operation that a caller's key is bound to: for 24 hours, or until it is freed.

        The fingerprint is not compared.
        """

    @abstractmethod
    def discard(self, operation: Operation) -> None:
        """Forget an operation of which nothing was sent to the cloud."""

    @abstractmethod
    def save(self, operation: Operation) -> Operation:
        """Keep the operation's new state and return it with its new revision.

        Raises StaleOperation when it has been moved on, or superseded, since it was read.
        """

    @abstractmethod
    def get(self, operation_id: str) -> Operation:
        """Return an operation. Raises OperationNotFound."""

    @abstractmethod
    def find(self, query: OperationQuery, paging: Paging) -> Page[Operation]:
        """Return a page of the operations that are asked for, the newest first."""

    @abstractmethod
    def mine(self) -> Sequence[Operation]:
        """Return the operations that this process is to carry on, the oldest first.

        They are its own, and those whose process has not been heard of for a while.
        """

    @abstractmethod
    def unfinished_of(self, vm_ids: Sequence[str]) -> dict[str, Operation]:
        """Return what is under way with each VM: the newest, so a delete before what it ended."""

    @abstractmethod
    def lease(self, operation_id: str, *, fresh: bool = False) -> AbstractContextManager[bool]:
        """Hold the right to advance an operation; False when somebody else holds it.

        Who has just added an operation holds it already, and says `fresh`.
        """

    def keep(self) -> None:
        """Carry on here what is taken on here: a lease is kept from one look to the next."""

    def leave(self) -> None:
        """Let others carry on what is taken on here: from now on a lease ends with its use."""

    def upgrade(self) -> str:
        """Bring what is kept up to date with this version; say how it stands."""
        return "nothing is kept in a database"

    def ping(self) -> None:
        """Return when the store answers. Raises StoreUnavailable."""

    def close(self) -> None:
        """Leave what is unfinished to others, and let go of connections; not used afterwards."""


class KeyTaken(Exception):
    """Another operation has this idempotency key."""


class Held:
    """The operations that threads of this process hold at the moment."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ids: set[str] = set()

    def take(self, operation_id: str) -> bool:
        """Hold an operation; False when another thread does."""
        with self._lock:
            if operation_id in self._ids:
                return False
            self._ids.add(operation_id)
            return True

    def give(self, operation_id: str) -> None:
        """Hold it no longer."""
        with self._lock:
            self._ids.discard(operation_id)
