"""Finding out what became of a change whose answer was lost."""

from collections.abc import Callable
from datetime import datetime, timedelta

from vmapi import errors
from vmapi.backends.base import AcceptedAction, Backend
from vmapi.domain.lifecycle import Status, Verb
from vmapi.domain.operation import Operation, Step
from vmapi.store.store import Store

CLOUD_TIME_RESOLUTION = timedelta(seconds=1)
"""The cloud's times are cut off at it."""


class LostCallRecovery:
    """Looks for what changes have left in the cloud."""

    def __init__(self, backend: Backend, store: Store, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._store = store
        self._clock = clock

    def find_request(self, operation: Operation, step: Step) -> AcceptedAction | None:
        """Return what a step that may have been sent has set going. Raises VMNotFound."""
        if step.verb is Verb.CREATE:
            return self._backend.find_created_vm(operation.id)
        if step.verb is Verb.UPDATE:
            return None
        vm_id = require_vm_id(operation)
        # what is known belongs to another operation, or to another step of this one
        known = self._store.operations.request_ids(vm_id)
        since = self._to_cloud_time(operation.created_at)
        return self._backend.find_action(vm_id, step.verb, since, known)

    def is_update_applied(self, operation: Operation) -> bool:
        """Tell whether a VM is as an update was to leave it. Raises VMNotFound."""
        if operation.patch is None:
            return False
        vm, changes = self._backend.get_vm(require_vm_id(operation)), operation.patch
        return changes.name in (None, vm.name) and changes.applied_to(vm.metadata) == vm.metadata

    def not_found_error(self, operation: Operation, step: Step) -> errors.BackendFailure:
        """Return why nothing is to be found, long after a step may have been sent."""
        if step.verb is Verb.CREATE and (vm_id := self._find_deleted_vm(operation, step)):
            return errors.BackendLost("The VM was made, and deleted since.", vm_id=vm_id)
        detail = f"The {step.verb} never reached the cloud; nothing was changed."
        if step.verb is Verb.UPDATE:
            detail = "The update did not reach the cloud, or in part only; send it again."
        return errors.BackendTimeout(detail)

    def _find_deleted_vm(self, operation: Operation, step: Step) -> str | None:
        if seen := self._store.inventory.find_created_by(operation.id):
            return seen
        # what marks a VM is gone with it; but nobody else could have its name meanwhile
        since = self._to_cloud_time(step_started_at(operation, step)) - CLOUD_TIME_RESOLUTION
        for vm in self._backend.list_changed_since(since):
            ours = (vm.project, vm.name) == (operation.project, operation.reserved_name)
            if ours and vm.created_at > since and vm.status is Status.DELETED:
                return vm.id
        return None

    def _to_cloud_time(self, moment: datetime) -> datetime:
        """Return what the cloud's clock showed at a moment of ours."""
        return moment + (self._backend.cloud_time() - self._clock())


def step_started_at(operation: Operation, step: Step) -> datetime:
    """Return when a step was begun."""
    return step.started_at or operation.created_at


def require_vm_id(operation: Operation) -> str:
    """Return the id of an operation's VM, which only a create may lack."""
    if operation.vm_id is None:
        raise errors.InternalError(f"Operation {operation.id} has no VM yet.")
    return operation.vm_id
