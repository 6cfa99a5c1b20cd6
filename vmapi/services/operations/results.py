"""What comes of a change for who has asked for it."""

from dataclasses import replace

from vmapi import errors
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import Operation, OperationStatus
from vmapi.domain.project import Scope
from vmapi.domain.vm import VM
from vmapi.services.inventory.reader import InventoryReader
from vmapi.services.operations import preconditions as guard
from vmapi.services.operations.change import ChangeResult
from vmapi.services.reconciler.outcome import is_failed_build


class ChangeResultBuilder:
    """Answers with the VM, or with why there is none to answer with."""

    def __init__(self, reader: InventoryReader) -> None:
        self._reader = reader

    def build(self, operation: Operation, previous_vm: VM | None, scope: Scope) -> ChangeResult:
        """Return what has come of an operation; `before` is the VM as it was, if that is known.

        Raises what it failed with, and what has ended it.
        """
        if operation.status is OperationStatus.SUPERSEDED:
            raise self._superseded_error(operation)
        if operation.error is not None and not is_failed_build(operation):
            extra = {**operation.reference, **operation.error.extra}
            raise errors.error_class(operation.error.code)(operation.error.detail, **extra)
        if operation.action is Action.DELETE and operation.is_finished:
            return ChangeResult(operation, None)
        vm_id = operation.vm_id
        if vm_id is None:
            detail = "Which VM the create makes is not known yet."
            raise errors.BackendTimeout(detail, operation_id=operation.id)
        if previous_vm is not None:
            return ChangeResult(
                operation, self._reader.snapshot_after(operation, replace(previous_vm, id=vm_id))
            )
        try:
            return ChangeResult(operation, self._reader.get(vm_id, scope))
        except errors.VMNotFound as unknown:
            if operation.action is not Action.DELETE:
                unknown.extra["operation_id"] = operation.id
                raise
            # gone already, and nobody has looked since whoever sent the delete died
            return ChangeResult(operation, None)

    def _superseded_error(self, operation: Operation) -> errors.VmapiError:
        detail, of = f"A delete has ended the {operation.action}.", operation.id
        try:
            vm = self._reader.get(operation.vm_id or "", operation.project).vm
        except errors.VMNotFound:
            return errors.VMNotFound(detail, operation_id=of)
        except errors.BackendFailure:
            return errors.TaskInProgress(detail, operation_id=of)
        return guard.with_vm_state(errors.TaskInProgress(detail, operation_id=of), vm)
