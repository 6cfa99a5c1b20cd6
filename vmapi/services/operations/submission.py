"""Taking a change on: once for each key, one at a time for each VM and name."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from vmapi import errors
from vmapi.backends.base import Backend
from vmapi.domain.caller import Caller
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import Operation, Step
from vmapi.domain.vm import VM
from vmapi.services.inventory.reader import InventoryReader
from vmapi.services.operations import preconditions as guard
from vmapi.services.operations.change import ChangeResult
from vmapi.services.operations.name_claims import NameReservations
from vmapi.services.operations.results import ChangeResultBuilder
from vmapi.services.operations.service import OperationService
from vmapi.services.operations.waiting import OperationWaiter
from vmapi.store.conflicts import IdempotencyKeyConflict, VMRevisionConflict
from vmapi.store.store import Store

FIRST_RESPONSE_TIMEOUT = 10
"""Seconds that a repeat waits for the first request with its key to be answered."""


class OperationSubmitter:
    """Makes operations, has them carried out, and answers with what came of them."""

    def __init__(
        self,
        backend: Backend,
        store: Store,
        operations: OperationService,
        reader: InventoryReader,
        waiter: OperationWaiter,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._backend = backend
        self._store = store
        self._operations = operations
        self._reader = reader
        self._waiter = waiter
        self._clock = clock
        self._name_reservations = NameReservations(backend, store)
        self._results = ChangeResultBuilder(reader)

    def new_operation(
        self, action: Action, steps: tuple[Step, ...], caller: Caller, **more: Any
    ) -> Operation:
        """Make an operation; `more` are further members of it."""
        return Operation(
            id=str(uuid.uuid4()),
            action=action,
            steps=steps,
            created_at=self._clock(),
            requested_by=caller.user,
            address=caller.address,
            request_id=caller.request_id,
            key=caller.key,
            is_delegated=caller.caller_token is not None,
            **{"project": caller.project, **more},
        )

    def new_vm_operation(
        self, vm: VM, action: Action, steps: tuple[Step, ...], caller: Caller, **more: Any
    ) -> Operation:
        """Make an operation on a VM: it is the VM's project's, whoever asks."""
        project = vm.project or caller.project
        return self.new_operation(action, steps, caller, vm_id=vm.id, project=project, **more)

    def run_idempotent(self, caller: Caller, func: Callable[[], ChangeResult]) -> ChangeResult:
        """Return what comes of a request, or what came of it before, under the same key."""
        if earlier := self.replay(caller):
            return earlier
        try:
            return func()
        except errors.PreconditionFailed:
            # what has changed the VM may be this very request
            if earlier := self.replay(caller):
                return earlier
            raise
        except errors.BackendTimeout as late:
            if "operation_id" in late.extra:
                raise
            # no change was sent yet: vmapi was only looking
            raise errors.BackendUnavailable(f"{late.detail} Nothing was sent.") from late

    def replay(self, caller: Caller) -> ChangeResult | None:
        """Return what came of the same request, if it was made before under the same key.

        Raises IdempotencyKeyReused, IdempotencyInProgress, and what the operation failed with.
        """
        operation = self.find_by_key(caller)
        if operation is None:
            return None
        try:
            operation = self._waiter.wait_until(operation, _is_accepted, FIRST_RESPONSE_TIMEOUT)
        except errors.OperationNotFound:
            # refused before anything was sent, which frees the key
            return None
        if not _is_accepted(operation):
            detail = "The first request with this Idempotency-Key is still being answered."
            raise errors.IdempotencyInProgress(detail, operation_id=operation.id)
        if operation.key is None:
            return None
        operation = self._waiter.wait_until(operation, _is_finished, caller.wait_seconds)
        try:
            return replace(self._results.build(operation, None, caller.scope), replayed=True)
        except errors.VmapiError as error:
            # not to know how the VM is now is no outcome
            away = operation.error is None and isinstance(error, errors.BackendFailure)
            error.replayed = not away
            raise

    def find_by_key(self, caller: Caller) -> Operation | None:
        """Return the operation that the caller's key is bound to. Raises IdempotencyKeyReused."""
        operation = self._store.operations.find_by_key(caller.key) if caller.key else None
        if operation is None or caller.key is None or operation.key is None:
            return None
        guard.check_fingerprint(caller.key, operation.key.fingerprint)
        return operation

    def enqueue(self, operation: Operation, caller: Caller, previous_vm: VM) -> Operation:
        """Leave a new operation to others, and return the one that its key is bound to.

        Raises BackendUnavailable while nothing would be sent.
        """
        self._backend.check_available()
        try:
            operation = self._insert(operation, previous_vm)
        except IdempotencyKeyConflict:
            return self.find_by_key(caller) or self.enqueue(operation, caller, previous_vm)
        self._operations.start_in_background(operation, caller.caller_token)
        return operation

    def submit(self, operation: Operation, caller: Caller, previous_vm: VM) -> ChangeResult:
        """Have a new operation carried out, as far as it goes while the answer may wait.

        Raises what the cloud refuses it with, and BackendTimeout when its outcome is not known.
        """
        free = self._name_reservations.is_free(operation)
        if free:
            # nothing is to be asked before: it is kept and about to be sent at once
            operation = operation.as_dispatching(self._clock())
        try:
            operation = self._insert(operation, previous_vm)
        except IdempotencyKeyConflict:
            return self.replay(caller) or self.submit(operation, caller, previous_vm)
        if not free:
            self._name_reservations.verify_in_cloud(operation)
        try:
            progress = self._operations.start(operation, caller.caller_token)
        except errors.BackendTimeout:
            ended = self._waiter.wait_until(operation, _is_finished, caller.wait_seconds)
            if not ended.is_finished:
                raise
            return self._results.build(ended, previous_vm, caller.scope)
        except errors.Conflict as conflict:
            raise guard.with_vm_state(conflict, self._reader.latest_or(previous_vm)) from None
        ended = self._waiter.wait_until(progress.operation, _is_finished, caller.wait_seconds)
        return self._results.build(ended, previous_vm, caller.scope)

    def _insert(self, operation: Operation, previous_vm: VM) -> Operation:
        try:
            return self._name_reservations.insert_with_reservation(operation)
        except errors.TaskInProgress as conflict:
            raise guard.with_vm_state(conflict, self._reader.latest_or(previous_vm)) from None
        except VMRevisionConflict:
            raise guard.precondition_failed(
                self._reader.get(previous_vm.id, previous_vm.project)
            ) from None


def _is_finished(operation: Operation) -> bool:
    return operation.is_finished


def _is_accepted(operation: Operation) -> bool:
    return operation.is_finished or operation.is_accepted
