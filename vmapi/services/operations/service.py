"""Operations as clients ask for them and look them up."""

from collections.abc import Callable, Sequence

from vmapi.domain.identity import CallerToken
from vmapi.domain.operation import Operation, OperationQuery
from vmapi.domain.pagination import Page, PageRequest
from vmapi.domain.project import Scope
from vmapi.domain.vm import VM
from vmapi.errors import BackendTimeout
from vmapi.services.operations.delegated import DelegatedStarter
from vmapi.services.operations.waiting import OperationWaiter
from vmapi.services.reconciler.outcome import is_failed_build
from vmapi.services.reconciler.poller import DueOperation, OperationPoller
from vmapi.services.reconciler.progress import ReconcileResult
from vmapi.services.reconciler.reconciler import Reconciler
from vmapi.store.store import Store


class OperationService:
    """Takes operations on, carries on those that nobody waits for, and finds them again.

    `wake` is called whenever an operation is left unfinished.
    """

    def __init__(
        self,
        store: Store,
        reconciler: Reconciler,
        waiter: OperationWaiter,
        poller: OperationPoller,
        notify_engine: Callable[[str], None],
    ) -> None:
        self._store = store
        self._reconciler = reconciler
        self._waiter = waiter
        self._poller = poller
        self._notify_engine = notify_engine
        self._delegated_starter = DelegatedStarter(self._start_delegated)

    def start(
        self, operation: Operation, caller_token: CallerToken | None = None
    ) -> ReconcileResult:
        """Advance a new operation as far as it goes at once.

        A step that is personal is sent `on_behalf` of who has asked for it. Raises what the cloud
        refused it with; BackendTimeout when the outcome is not known yet.
        """
        try:
            progress = self._reconciler.reconcile(
                operation, lease_held=True, caller_token=caller_token
            )
        except Exception:
            self._notify_engine(operation.id)
            raise
        if not progress.operation.is_finished:
            self._notify_engine(operation.id)
        if progress.error is not None and not is_failed_build(progress.operation):
            if progress.operation.is_accepted:
                progress.error.extra = {**progress.operation.reference, **progress.error.extra}
            raise progress.error
        return progress

    def start_in_background(self, operation: Operation, caller_token: CallerToken | None) -> None:
        """Have a new operation started while nobody waits: by the engine, unless it is personal."""
        if caller_token is not None:
            self._delegated_starter.submit(operation, caller_token)
            return
        with self._store.operations.lease(operation.id, lease_held=True):
            # held for nothing, and given back: the engine may have it
            pass
        self._notify_engine(operation.id)

    def stop(self) -> None:
        """Finish what is being started, and start nothing more."""
        self._delegated_starter.stop()

    def list_due(self, operations: Sequence[Operation]) -> Sequence[DueOperation]:
        """Return which of these operations can be carried on now."""
        return self._poller.list_due(operations)

    def reconcile(self, operation: Operation, snapshot: VM | None = None) -> Operation:
        """Carry an operation on in the background."""
        try:
            return self._reconciler.reconcile(operation, snapshot).operation
        except BackendTimeout:
            return self._store.operations.get(operation.id)
        finally:
            self._waiter.notify_all()

    def list_leased(self) -> Sequence[Operation]:
        """Return the operations that this process is to carry on, the oldest first."""
        return self._store.operations.list_leased()

    def get(self, operation_id: str, scope: Scope, caller: str, wait: int = 0) -> Operation:
        """Return an operation, over or as it is after so many seconds. Raises OperationNotFound."""
        found = self._store.operations.get(operation_id, scope)
        return self._waiter.wait_until(found, lambda operation: operation.is_finished, wait, caller)

    def list(self, query: OperationQuery, paging: PageRequest, scope: Scope) -> Page[Operation]:
        """Return a page of a project's operations, the newest first."""
        return self._store.operations.list_page(query, paging, scope)

    def _start_delegated(self, operation: Operation, caller_token: CallerToken) -> None:
        try:
            self.start(operation, caller_token)
        finally:
            self._waiter.notify_all()
