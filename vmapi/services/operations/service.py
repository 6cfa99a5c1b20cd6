"""Look up operations, and supply the engine with those to reconcile."""

from collections.abc import Callable, Sequence

from vmapi.domain.operation import NewOperation, Operation, OperationQuery
from vmapi.domain.pagination import Page, PageRequest
from vmapi.domain.project import Scope
from vmapi.domain.vm import VM
from vmapi.errors import BackendTimeout
from vmapi.services.operations.delegated import DelegatedStarter
from vmapi.services.operations.waiting import OperationWaiter
from vmapi.services.reconciler.poller import DueOperation, OperationPoller
from vmapi.services.reconciler.reconciler import Reconciler
from vmapi.store.store import Store


class OperationService:
    """Operations for views and engine. `notify_engine` receives the id of a new operation."""

    def __init__(
        self,
        store: Store,
        reconciler: Reconciler,
        waiter: OperationWaiter,
        poller: OperationPoller,
        notify_engine: Callable[[str], object],
    ) -> None:
        self._store = store
        self._reconciler = reconciler
        self._waiter = waiter
        self._poller = poller
        self._notify_engine = notify_engine
        self._delegated_starter = DelegatedStarter(self._start_delegated)

    def get(self, operation_id: str, scope: Scope, caller: str, wait_seconds: int = 0) -> Operation:
        """Return an operation when it is finished, or after `wait_seconds`.

        Raises OperationNotFound.
        """
        operation = self._store.operations.get(operation_id, scope)
        return self._waiter.wait_until(
            operation, lambda current: current.is_finished, wait_seconds, caller
        )

    def list(
        self, query: OperationQuery, page_request: PageRequest, scope: Scope
    ) -> Page[Operation]:
        """Return a page of the operations of a project, the newest first."""
        return self._store.operations.list_page(query, page_request, scope)

    def start_in_background(self, new: NewOperation) -> None:
        """Leave a new operation to the engine, or to a thread with the token of its caller."""
        if new.caller_token is not None:
            self._delegated_starter.submit(new)
            return
        self._store.operations.release(new.operation.id)
        self._notify_engine(new.operation.id)

    def list_leased(self) -> Sequence[Operation]:
        """Return the unfinished operations that this process may lease, the oldest first."""
        return self._store.operations.list_leased()

    def list_due(self, operations: Sequence[Operation]) -> Sequence[DueOperation]:
        """Select the operations that are due."""
        return self._poller.list_due(operations)

    def reconcile(self, operation: Operation, observed_vm: VM | None = None) -> Operation:
        """Reconcile an operation in the background and wake the requests that wait for it."""
        try:
            return self._reconciler.reconcile(operation, observed_vm).operation
        except BackendTimeout:
            return self._store.operations.get(operation.id)
        finally:
            self._waiter.notify_all()

    def stop(self) -> None:
        """Finish the delegated starts in progress, and start no others."""
        self._delegated_starter.stop()

    def _start_delegated(self, new: NewOperation) -> None:
        try:
            self._reconciler.dispatch_first(new).raise_error()
        finally:
            self._waiter.notify_all()
