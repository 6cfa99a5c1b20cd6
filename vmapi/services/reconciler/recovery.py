"""Finding out what became of a change whose answer was lost."""

from collections.abc import Callable
from datetime import datetime, timedelta

from vmapi import errors
from vmapi.backends.base import Backend, Receipt
from vmapi.domain.lifecycle import Status, Verb
from vmapi.domain.operation import Operation, Step
from vmapi.store.store import Store

WHOLE_SECOND = timedelta(seconds=1)
"""The cloud's times are cut off at it."""


class Traces:
    """Looks for what changes have left in the cloud."""

    def __init__(self, backend: Backend, store: Store, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._store = store
        self._clock = clock

    def find(self, operation: Operation, step: Step) -> Receipt | None:
        """Return what a step that may have been sent has set going. Raises VMNotFound."""
        if step.verb is Verb.CREATE:
            return self._backend.find_created(operation.id)
        if step.verb is Verb.UPDATE:
            return None
        vm_id = vm_of(operation)
        # what is known belongs to another operation, or to another step of this one
        known = self._store.operations.request_ids(vm_id)
        since = self._in_the_cloud(operation.created_at)
        return self._backend.find_performed(vm_id, step.verb, since, known)

    def shows(self, operation: Operation) -> bool:
        """Tell whether a VM is as an update was to leave it. Raises VMNotFound."""
        if operation.changes is None:
            return False
        vm, changes = self._backend.get(vm_of(operation)), operation.changes
        return changes.name in (None, vm.name) and changes.applied_to(vm.metadata) == vm.metadata

    def missing(self, operation: Operation, step: Step) -> errors.BackendFailure:
        """Return why nothing is to be found, long after a step may have been sent."""
        if step.verb is Verb.CREATE and (vm_id := self._deleted(operation, step)):
            return errors.BackendLost("The VM was made, and deleted since.", vm_id=vm_id)
        detail = f"The {step.verb} never reached the cloud; nothing was changed."
        if step.verb is Verb.UPDATE:
            detail = "The update did not reach the cloud, or in part only; send it again."
        return errors.BackendTimeout(detail)

    def _deleted(self, operation: Operation, step: Step) -> str | None:
        if seen := self._store.inventory.made_by(operation.id):
            return seen
        # what marks a VM is gone with it; but nobody else could have its name meanwhile
        since = self._in_the_cloud(begun(operation, step)) - WHOLE_SECOND
        for vm in self._backend.changed(since):
            ours = (vm.project, vm.name) == (operation.project, operation.claimed_name)
            if ours and vm.created_at > since and vm.status is Status.DELETED:
                return vm.id
        return None

    def _in_the_cloud(self, moment: datetime) -> datetime:
        """Return what the cloud's clock showed at a moment of ours."""
        return moment + (self._backend.now() - self._clock())


def begun(operation: Operation, step: Step) -> datetime:
    """Return when a step was begun."""
    return step.begun_at or operation.created_at


def vm_of(operation: Operation) -> str:
    """Return the id of an operation's VM, which only a create may lack."""
    if operation.vm_id is None:
        raise errors.InternalError(f"Operation {operation.id} has no VM yet.")
    return operation.vm_id
