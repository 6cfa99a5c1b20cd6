"""Submit new operations: reserve the name, insert the row, dispatch the first step, wait."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from vmapi import errors
from vmapi.backends.base import Backend
from vmapi.domain.access.caller import Caller
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import CreateWindow, NewOperation, Operation, Step
from vmapi.domain.snapshot import VMSnapshot
from vmapi.domain.vm import VM
from vmapi.services.inventory.reader import InventoryReader
from vmapi.services.operations import preconditions
from vmapi.services.operations.name_reservations import NameReservations
from vmapi.services.operations.results import ChangeResult, ChangeResultBuilder
from vmapi.services.operations.waiting import OperationWaiter, is_finished
from vmapi.services.reconciler.reconciler import Reconciler
from vmapi.store.conflicts import VMRevisionConflict
from vmapi.store.store import Store
from vmapi.telemetry.tracing.tracer import TRACER


class OperationSubmitter:
    """Submits each new operation once. `IdempotencyService` calls it once for each key."""

    def __init__(
        self,
        backend: Backend,
        store: Store,
        *,
        reconciler: Reconciler,
        reader: InventoryReader,
        waiter: OperationWaiter,
        results: ChangeResultBuilder,
        clock: Callable[[], datetime],
        create_window: Callable[[], CreateWindow],
    ) -> None:
        self._reconciler = reconciler
        self._reader = reader
        self._waiter = waiter
        self._results = results
        self._clock = clock
        self._name_reservations = NameReservations(backend, store, create_window)

    def submit(self, new: NewOperation, caller: Caller) -> ChangeResult:
        """Insert a new operation, dispatch its first step, and wait as the caller prefers.

        Raises IdempotencyKeyConflict, TaskInProgress, NameTaken, QuotaExceeded and
        PreconditionFailed; the error that ended the operation; BackendTimeout if its outcome is
        unknown.
        """
        name_is_free = self._name_reservations.is_free(new.operation)
        if name_is_free:
            # no request precedes the dispatch: one write inserts the row as dispatching
            new = replace(new, operation=new.operation.as_dispatching(self._clock()))
        stored_vm = self._insert(new)
        if not name_is_free:
            vm_id = self._name_reservations.verify_in_cloud(new.operation)
            new = replace(new, created_vm_id=vm_id)
        try:
            result = self._reconciler.dispatch_first(new)
            result.raise_error()
        except errors.BackendTimeout:
            operation = self._waiter.wait_until(new.operation, is_finished, caller.wait_seconds)
            if not operation.is_finished:
                raise
            return self._results.build(operation, new.vm, caller.scope)
        except errors.Conflict as conflict:
            latest = self._reader.latest_or(new.vm)
            raise preconditions.with_vm_state(conflict, latest) from None
        operation = self._waiter.wait_until(result.operation, is_finished, caller.wait_seconds)
        # after a wait, the row of the VM may have changed since the insert
        unchanged = operation is result.operation
        vm = result.stored_vm or (None if operation.is_finished else stored_vm)
        vm = vm if unchanged else None
        built = self._results.build(operation, new.vm, caller.scope, vm)
        return replace(built, replayed=new.created_vm_id is not None)

    def _insert(self, new: NewOperation) -> VMSnapshot | None:
        try:
            return self._name_reservations.insert_with_reservation(new)
        except errors.TaskInProgress as conflict:
            vm = self._reader.latest_or(new.vm)
            raise preconditions.with_vm_state(conflict, vm) from None
        except VMRevisionConflict:
            snapshot = self._reader.get(new.vm.id, new.vm.project)
            raise preconditions.precondition_failed(snapshot) from None


def build_operation(
    caller: Caller, action: Action, steps: tuple[Step, ...], created_at: datetime, **fields: Any
) -> Operation:
    """Build the operation of a request in the caller's project. `fields` are further fields."""
    return Operation(
        id=str(uuid.uuid4()),
        action=action,
        steps=steps,
        created_at=created_at,
        requested_by=caller.user,
        address=caller.address,
        request_id=caller.request_id,
        key=caller.key,
        is_delegated=caller.caller_token is not None,
        traceparent=TRACER.traceparent(),
        **{"project": caller.project, **fields},
    )


def build_vm_operation(
    caller: Caller,
    vm: VM,
    action: Action,
    steps: tuple[Step, ...],
    created_at: datetime,
    **fields: Any,
) -> NewOperation:
    """Build the operation of a request on a VM, in the project of the VM."""
    operation = build_operation(
        caller,
        action,
        steps,
        created_at,
        vm_id=vm.id,
        project=vm.project or caller.project,
        **fields,
    )
    return NewOperation(operation, vm, caller_token=caller.caller_token)
