"""The result of a change for its caller: the VM, or the error that ended the operation."""

from dataclasses import dataclass, replace

from vmapi import errors
from vmapi.domain.access.project import Scope
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import Operation, OperationError, OperationStatus
from vmapi.domain.snapshot import VMSnapshot
from vmapi.domain.vm import VM
from vmapi.services.inventory.reader import InventoryReader
from vmapi.services.operations import preconditions
from vmapi.services.reconciler.outcome import is_failed_build


@dataclass(frozen=True, slots=True)
class ChangeResult:
    """The operation of a change and its VM, or None for a deleted VM."""

    operation: Operation
    snapshot: VMSnapshot | None
    replayed: bool = False
    """Whether an earlier request with the same key has made the change."""


def response_error(operation: Operation) -> OperationError | None:
    """Return the error that answers an operation, or None: its VM answers a failed build."""
    error = operation.error
    return None if error is None or is_failed_build(operation) else error


class ChangeResultBuilder:
    """Builds the result of an operation, or raises its error."""

    def __init__(self, reader: InventoryReader) -> None:
        self._reader = reader

    def build(
        self,
        operation: Operation,
        previous_vm: VM | None,
        scope: Scope,
        stored_vm: VMSnapshot | None = None,
    ) -> ChangeResult:
        """Return the result of an operation.

        `previous_vm` is the VM before the change, `stored_vm` its inventory row since the insert
        of the operation; None if unknown. Raises the error of a failed or superseded operation,
        BackendTimeout while the VM of a create is unknown.
        """
        if operation.status is OperationStatus.SUPERSEDED:
            raise self._superseded_error(operation)
        if error := response_error(operation):
            extra = {**operation.reference, **error.extra}
            raise errors.error_class(error.code)(error.detail, **extra)
        if operation.action is Action.DELETE and operation.is_finished:
            return ChangeResult(operation, None)
        if operation.vm_id is None:
            detail = "The id of the new VM is not known yet."
            raise errors.BackendTimeout(detail, operation_id=operation.id)
        if previous_vm is not None:
            vm = replace(previous_vm, id=operation.vm_id)
            return ChangeResult(operation, self._reader.snapshot_after(operation, vm, stored_vm))
        return ChangeResult(operation, self._read(operation, operation.vm_id, scope))

    def _read(self, operation: Operation, vm_id: str, scope: Scope) -> VMSnapshot | None:
        try:
            return self._reader.get(vm_id, scope)
        except errors.VMNotFound as error:
            if operation.action is not Action.DELETE:
                error.extra |= operation.reference
                raise
            # the VM is gone although no process has evaluated the delete yet
            return None

    def _superseded_error(self, operation: Operation) -> errors.VmapiError:
        detail, reference = f"A delete has ended the {operation.action}.", operation.reference
        try:
            vm = self._reader.get(operation.vm_id or "", operation.project).vm
        except errors.VMNotFound:
            return errors.VMNotFound(detail, **reference)
        except (errors.BackendFailure, errors.StoreUnavailable):
            return errors.TaskInProgress(detail, **reference)
        return preconditions.with_vm_state(errors.TaskInProgress(detail, **reference), vm)
