"""Taking a change on: once for each key, one at a time for each VM and name."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from vmapi import errors
from vmapi.backends.base import Backend
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import Caller, Operation, Step
from vmapi.domain.vm import VM
from vmapi.services.inventory.reader import View
from vmapi.services.operations import preconditions as guard
from vmapi.services.operations.change import Change
from vmapi.services.operations.name_claims import Names
from vmapi.services.operations.results import Answers
from vmapi.services.operations.service import Operations
from vmapi.services.operations.waiting import Waiting
from vmapi.store.conflicts import KeyTaken, StaleVM
from vmapi.store.store import Store

PATIENCE = 10
"""Seconds that a repeat waits for the first request with its key to be answered."""


class Submission:
    """Makes operations, has them carried out, and answers with what came of them."""

    def __init__(
        self,
        backend: Backend,
        store: Store,
        operations: Operations,
        view: View,
        waiting: Waiting,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._backend = backend
        self._store = store
        self._operations = operations
        self._view = view
        self._waiting = waiting
        self._clock = clock
        self._names = Names(backend, store)
        self._answers = Answers(view)

    def new(self, action: Action, plan: tuple[Step, ...], caller: Caller, **more: Any) -> Operation:
        """Make an operation; `more` are further members of it."""
        return Operation(
            id=str(uuid.uuid4()),
            action=action,
            plan=plan,
            created_at=self._clock(),
            requested_by=caller.user,
            address=caller.address,
            request_id=caller.request_id,
            key=caller.key,
            as_requester=caller.credential is not None,
            **{"project": caller.project, **more},
        )

    def on(
        self, vm: VM, action: Action, plan: tuple[Step, ...], caller: Caller, **more: Any
    ) -> Operation:
        """Make an operation on a VM: it is the VM's project's, whoever asks."""
        project = vm.project or caller.project
        return self.new(action, plan, caller, vm_id=vm.id, project=project, **more)

    def once(self, caller: Caller, begin: Callable[[], Change]) -> Change:
        """Return what comes of a request, or what came of it before, under the same key."""
        if earlier := self.earlier(caller):
            return earlier
        try:
            return begin()
        except errors.PreconditionFailed:
            # what has changed the VM may be this very request
            if earlier := self.earlier(caller):
                return earlier
            raise
        except errors.BackendTimeout as late:
            if "operation_id" in late.extra:
                raise
            # no change was sent yet: vmapi was only looking
            raise errors.BackendUnavailable(f"{late.detail} Nothing was sent.") from late

    def earlier(self, caller: Caller) -> Change | None:
        """Return what came of the same request, if it was made before under the same key.

        Raises IdempotencyKeyReused, IdempotencyInProgress, and what the operation failed with.
        """
        operation = self.bound(caller)
        if operation is None:
            return None
        try:
            operation = self._waiting.until(operation, _answered, PATIENCE)
        except errors.OperationNotFound:
            # refused before anything was sent, which frees the key
            return None
        if not _answered(operation):
            detail = "The first request with this Idempotency-Key is still being answered."
            raise errors.IdempotencyInProgress(detail, operation_id=operation.id)
        if operation.key is None:
            return None
        operation = self._waiting.until(operation, _finished, caller.wait)
        try:
            return replace(self._answers.of(operation, None, caller.scope), replayed=True)
        except errors.VmapiError as error:
            # not to know how the VM is now is no outcome
            away = operation.error is None and isinstance(error, errors.BackendFailure)
            error.replayed = not away
            raise

    def bound(self, caller: Caller) -> Operation | None:
        """Return the operation that the caller's key is bound to. Raises IdempotencyKeyReused."""
        operation = self._store.operations.of_key(caller.key) if caller.key else None
        if operation is None or caller.key is None or operation.key is None:
            return None
        guard.check_fingerprint(caller.key, operation.key.fingerprint)
        return operation

    def enqueue(self, operation: Operation, caller: Caller, before: VM) -> Operation:
        """Leave a new operation to others, and return the one that its key is bound to.

        Raises BackendUnavailable while nothing would be sent.
        """
        self._backend.ensure()
        try:
            operation = self._add(operation, before)
        except KeyTaken:
            return self.bound(caller) or self.enqueue(operation, caller, before)
        self._operations.leave(operation, caller.credential)
        return operation

    def submit(self, operation: Operation, caller: Caller, before: VM) -> Change:
        """Have a new operation carried out, as far as it goes while the answer may wait.

        Raises what the cloud refuses it with, and BackendTimeout when its outcome is not known.
        """
        free = self._names.is_free(operation)
        if free:
            # nothing is to be asked before: it is kept and about to be sent at once
            operation = operation.sending(self._clock())
        try:
            operation = self._add(operation, before)
        except KeyTaken:
            return self.earlier(caller) or self.submit(operation, caller, before)
        if not free:
            self._names.check(operation)
        try:
            progress = self._operations.start(operation, caller.credential)
        except errors.BackendTimeout:
            ended = self._waiting.until(operation, _finished, caller.wait)
            if not ended.finished:
                raise
            return self._answers.of(ended, before, caller.scope)
        except errors.Conflict as conflict:
            raise guard.explained(conflict, self._view.last_seen(before)) from None
        ended = self._waiting.until(progress.operation, _finished, caller.wait)
        return self._answers.of(ended, before, caller.scope)

    def _add(self, operation: Operation, before: VM) -> Operation:
        try:
            return self._names.add(operation)
        except errors.TaskInProgress as conflict:
            raise guard.explained(conflict, self._view.last_seen(before)) from None
        except StaleVM:
            raise guard.stale(self._view.get(before.id, before.project)) from None


def _finished(operation: Operation) -> bool:
    return operation.finished


def _answered(operation: Operation) -> bool:
    return operation.finished or operation.taken_on
