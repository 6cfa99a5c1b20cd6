"""What comes of a change for who has asked for it."""

from dataclasses import replace

from vmapi import errors
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import Operation, OperationStatus
from vmapi.domain.project import Scope
from vmapi.domain.vm import VM
from vmapi.services.inventory.reader import View
from vmapi.services.operations import preconditions as guard
from vmapi.services.operations.change import Change
from vmapi.services.reconciler.outcome import has_failed_to_build


class Answers:
    """Answers with the VM, or with why there is none to answer with."""

    def __init__(self, view: View) -> None:
        self._view = view

    def of(self, operation: Operation, before: VM | None, scope: Scope) -> Change:
        """Return what has come of an operation; `before` is the VM as it was, if that is known.

        Raises what it failed with, and what has ended it.
        """
        if operation.status is OperationStatus.SUPERSEDED:
            raise self._superseded(operation)
        if operation.error is not None and not has_failed_to_build(operation):
            extra = {**operation.ids, **operation.error.extra}
            raise errors.by_code(operation.error.code)(operation.error.detail, **extra)
        if operation.action is Action.DELETE and operation.finished:
            return Change(operation, None)
        vm_id = operation.vm_id
        if vm_id is None:
            detail = "Which VM the create makes is not known yet."
            raise errors.BackendTimeout(detail, operation_id=operation.id)
        if before is not None:
            return Change(operation, self._view.after(operation, replace(before, id=vm_id)))
        try:
            return Change(operation, self._view.get(vm_id, scope))
        except errors.VMNotFound as unknown:
            if operation.action is not Action.DELETE:
                unknown.extra["operation_id"] = operation.id
                raise
            # gone already, and nobody has looked since whoever sent the delete died
            return Change(operation, None)

    def _superseded(self, operation: Operation) -> errors.VmapiError:
        detail, of = f"A delete has ended the {operation.action}.", operation.id
        try:
            vm = self._view.get(operation.vm_id or "", operation.project).vm
        except errors.VMNotFound:
            return errors.VMNotFound(detail, operation_id=of)
        except errors.BackendFailure:
            return errors.TaskInProgress(detail, operation_id=of)
        return guard.explained(errors.TaskInProgress(detail, operation_id=of), vm)
