"""Look up operations, and supply the engine with those to reconcile."""

from collections.abc import Callable, Mapping, Sequence

from vmapi.domain.access.project import Scope
from vmapi.domain.bulk import BulkOperation
from vmapi.domain.operation import NewOperation, Operation, OperationQuery
from vmapi.domain.pagination import Page, PageRequest
from vmapi.domain.vm import VM
from vmapi.errors import (
    BackendTimeout,
    InternalError,
    OperationNotFound,
    StoreUnavailable,
    VmapiError,
)
from vmapi.services.operations.delegated import DelegatedStarter
from vmapi.services.operations.waiting import OperationWaiter, is_finished
from vmapi.services.reconciler.defects import DefectLimiter
from vmapi.services.reconciler.poller import DueOperation, OperationPoller
from vmapi.services.reconciler.progress import defect_error
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
        *,
        defect_limiter: DefectLimiter,
        notify_engine: Callable[[str], object],
    ) -> None:
        self._store = store
        self._reconciler = reconciler
        self._defect_limiter = defect_limiter
        self._waiter = waiter
        self._poller = poller
        self._notify_engine = notify_engine
        self._delegated_starter = DelegatedStarter(self._start_delegated)

    def get(
        self, operation_id: str, scope: Scope, caller: str, wait_seconds: int = 0
    ) -> Operation | BulkOperation:
        """Return an operation or a bulk operation when it is finished, or after `wait_seconds`.

        Raises OperationNotFound.
        """
        try:
            operation = self._store.operations.get(operation_id, scope)
        except OperationNotFound:
            bulk = self._store.operations.bulk.get(operation_id, scope)
            return self.wait_for_bulk(bulk, wait_seconds, caller)
        return self._waiter.wait_until(operation, is_finished, wait_seconds, caller)

    def wait_for_bulk(self, bulk: BulkOperation, wait_seconds: int, caller: str) -> BulkOperation:
        """Return a bulk operation when it is finished, or its last state after `wait_seconds`."""
        if bulk.is_finished or not wait_seconds:
            return bulk
        repository = self._store.operations.bulk
        self._waiter.wait_for(
            False, lambda: repository.is_finished(bulk.id), bool, wait_seconds, caller
        )
        return repository.get(bulk.id, None)

    def list(
        self, query: OperationQuery, page_request: PageRequest, scope: Scope
    ) -> Page[Operation]:
        """Return a page of the operations of a project, the newest first."""
        return self._store.operations.list_page(query, page_request, scope)

    def list_by_vm(
        self, vm_ids: Sequence[str], page_size: int, scope: Scope
    ) -> Mapping[str, Page[Operation]]:
        """Return the first page of the operations of each VM, the newest first."""
        return self._store.operations.list_pages_by_vm(vm_ids, page_size, scope)

    def start_all_in_background(self, new_operations: Sequence[NewOperation]) -> None:
        """Leave new operations to the engine, or to threads with the tokens of their callers."""
        for new in new_operations:
            if new.caller_token is not None:
                self._delegated_starter.submit(new)
        if new_operations:
            # one notification makes the engine scan all operations
            self._notify_engine(new_operations[0].operation.id)

    def list_leased(self) -> Sequence[Operation]:
        """Return the unfinished operations that this process may lease, the oldest first."""
        return self._store.operations.list_leased()

    def list_due(self, operations: Sequence[Operation]) -> Sequence[DueOperation]:
        """Select the operations that are due."""
        return self._poller.list_due(operations)

    def reconcile(self, operation: Operation, observed_vm: VM | None = None) -> Operation:
        """Reconcile an operation in the background and wake the requests that wait for it."""
        try:
            result = self._reconciler.reconcile(operation, observed_vm)
            if isinstance(result.failure, InternalError):
                return self._defect_limiter.record(operation, result.failure)
            if result.failure is not None:
                self.record_failure([operation], result.failure)
            return result.operation
        except BackendTimeout as error:
            self.record_failure([operation], error)
            return self._store.operations.get(operation.id)
        except StoreUnavailable:
            raise
        except Exception as error:
            self._defect_limiter.record(operation, defect_error(error))
            raise
        finally:
            self._waiter.notify_all()

    def record_failure(self, operations: Sequence[Operation], error: VmapiError) -> None:
        """Save the reason why an attempt to reconcile operations has failed, for operators."""
        self._store.operation_administration.record_failure(operations, error)

    def stop(self) -> None:
        """Finish the delegated starts in progress, and start no others."""
        self._delegated_starter.stop()

    def _start_delegated(self, new: NewOperation) -> None:
        try:
            self._reconciler.dispatch_first(new).raise_error()
        finally:
            self._waiter.notify_all()
