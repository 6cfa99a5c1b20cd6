"""Operations as clients ask for them and look them up."""

from collections.abc import Callable, Sequence

from vmapi.domain.credential import Credential
from vmapi.domain.operation import Operation, OperationQuery
from vmapi.domain.pagination import Page, Paging
from vmapi.domain.project import Scope
from vmapi.domain.vm import VM
from vmapi.errors import BackendTimeout
from vmapi.services.operations.delegated import FirstCalls
from vmapi.services.operations.waiting import Waiting
from vmapi.services.reconciler.outcome import has_failed_to_build
from vmapi.services.reconciler.poller import Poll, Ready
from vmapi.services.reconciler.progress import Progress
from vmapi.services.reconciler.reconciler import Controller
from vmapi.store.store import Store


class Operations:
    """Takes operations on, carries on those that nobody waits for, and finds them again.

    `wake` is called whenever an operation is left unfinished.
    """

    def __init__(
        self,
        store: Store,
        controller: Controller,
        waiting: Waiting,
        poll: Poll,
        wake: Callable[[str], None],
    ) -> None:
        self._store = store
        self._controller = controller
        self._waiting = waiting
        self._poll = poll
        self._wake = wake
        self._first_calls = FirstCalls(self._begin)

    def start(self, operation: Operation, on_behalf: Credential | None = None) -> Progress:
        """Advance a new operation as far as it goes at once.

        A step that is personal is sent `on_behalf` of who has asked for it. Raises what the cloud
        refused it with; BackendTimeout when the outcome is not known yet.
        """
        try:
            progress = self._controller.advance(operation, fresh=True, on_behalf=on_behalf)
        except Exception:
            self._wake(operation.id)
            raise
        if not progress.operation.finished:
            self._wake(operation.id)
        if progress.error is not None and not has_failed_to_build(progress.operation):
            if progress.operation.taken_on:
                progress.error.extra = {**progress.operation.ids, **progress.error.extra}
            raise progress.error
        return progress

    def leave(self, operation: Operation, on_behalf: Credential | None) -> None:
        """Have a new operation started while nobody waits: by the engine, unless it is personal."""
        if on_behalf is not None:
            self._first_calls.add(operation, on_behalf)
            return
        with self._store.operations.lease(operation.id, fresh=True):
            # held for nothing, and given back: the engine may have it
            pass
        self._wake(operation.id)

    def stop(self) -> None:
        """Finish what is being started, and start nothing more."""
        self._first_calls.stop()

    def ready(self, mine: Sequence[Operation]) -> Sequence[Ready]:
        """Return which of these operations can be carried on now."""
        return self._poll.ready(mine)

    def advance(self, operation: Operation, seen: VM | None = None) -> Operation:
        """Carry an operation on in the background."""
        try:
            return self._controller.advance(operation, seen).operation
        except BackendTimeout:
            return self._store.operations.get(operation.id)
        finally:
            self._waiting.moved()

    def mine(self) -> Sequence[Operation]:
        """Return the operations that this process is to carry on, the oldest first."""
        return self._store.operations.mine()

    def get(self, operation_id: str, scope: Scope, caller: str, wait: int = 0) -> Operation:
        """Return an operation, over or as it is after so many seconds. Raises OperationNotFound."""
        found = self._store.operations.get(operation_id, scope)
        return self._waiting.until(found, lambda operation: operation.finished, wait, caller)

    def list(self, query: OperationQuery, paging: Paging, scope: Scope) -> Page[Operation]:
        """Return a page of a project's operations, the newest first."""
        return self._store.operations.find(query, paging, scope)

    def _begin(self, operation: Operation, on_behalf: Credential) -> None:
        try:
            self.start(operation, on_behalf)
        finally:
            self._waiting.moved()
