"""Operations as clients ask for them and look them up."""

from collections.abc import Callable
from dataclasses import dataclass

from vmapi.errors import BackendTimeout
from vmapi.models.lifecycle import Action
from vmapi.models.operation import Operation, OperationStatus
from vmapi.models.page import Page, Paging
from vmapi.services.controller import Controller, Progress
from vmapi.store.operations import OperationStore


@dataclass(frozen=True, slots=True)
class OperationQuery:
    """Which operations are asked for; None means any."""

    vm_id: str | None = None
    action: Action | None = None
    status: OperationStatus | None = None

    def matches(self, operation: Operation) -> bool:
        """Tell whether an operation is asked for."""
        return (
            self.vm_id in (None, operation.vm_id)
            and self.action in (None, operation.action)
            and self.status in (None, operation.status)
        )


class Operations:
    """Takes operations on, carries on those that nobody waits for, and finds them again.

    `wake` is called whenever an operation is left unfinished.
    """

    def __init__(
        self, store: OperationStore, controller: Controller, wake: Callable[[], None]
    ) -> None:
        self._store = store
        self._controller = controller
        self._wake = wake

    def start(self, operation: Operation) -> Progress:
        """Advance a new operation as far as it goes at once.

        Raises what the cloud refused it with; BackendTimeout when the outcome is not known yet.
        """
        try:
            progress = self._controller.advance(operation)
        except Exception:
            self._wake()
            raise
        if not progress.operation.finished:
            self._wake()
        made = progress.operation.action is Action.CREATE and progress.operation.vm_id is not None
        if progress.error is not None and not made:
            raise progress.error
        return progress

    def advance(self, operation: Operation) -> Operation:
        """Carry an operation on in the background."""
        try:
            return self._controller.advance(operation).operation
        except BackendTimeout:
            return self._store.get(operation.id)

    def unfinished(self) -> list[Operation]:
        """Return the operations that are begun and not over, the oldest first.

        One that is not begun is still checked by the request that asks for it.
        """
        return [found for found in self._store.unfinished() if found.started_at is not None]

    def get(self, operation_id: str) -> Operation:
        """Return an operation. Raises OperationNotFound."""
        return self._store.get(operation_id)

    def list(self, query: OperationQuery, paging: Paging) -> Page[Operation]:
        """Return a page of operations, the newest first."""
        return paging.of([found for found in self._store.all() if query.matches(found)])
