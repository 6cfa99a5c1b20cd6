"""VMs as the API shows them: what the cloud says, with what is under way laid over it."""

from collections.abc import Sequence
from dataclasses import replace

from vmapi.backends.base import Backend
from vmapi.errors import BackendFailure, VMNotFound
from vmapi.models.lifecycle import GOALS, Action, Status, Verb
from vmapi.models.operation import Operation, OperationStatus
from vmapi.models.vm import VM, Changes
from vmapi.store.store import Store


class View:
    """Reads VMs from the cloud and from the store."""

    def __init__(self, backend: Backend, store: Store) -> None:
        self._backend = backend
        self._store = store

    def get(self, vm_id: str) -> VM:
        """Return a VM as it is now. Raises VMNotFound."""
        return self.of(self._backend.get(vm_id))

    def all(self) -> Sequence[VM]:
        """Return every VM."""
        vms = self._backend.vms()
        under_way = self._store.operations.unfinished_of([vm.id for vm in vms]) if vms else {}
        return [during(vm, under_way.get(vm.id)) for vm in vms]

    def of(self, vm: VM) -> VM:
        """Return a VM that was just read, with what is under way."""
        return during(vm, self._store.operations.unfinished_of([vm.id]).get(vm.id))

    def last_seen(self, before: VM) -> VM:
        """Return a VM as it is now, or as it was before while it cannot be read."""
        try:
            return self.get(before.id)
        except (VMNotFound, BackendFailure):
            return self.of(before)

    def after(self, operation: Operation, before: VM) -> VM:
        """Return a VM after an operation that is over: as it is now, or as it must have been left.

        `before` is what it was. Raises BackendFailure when it can neither be read nor inferred.
        """
        try:
            return self.get(before.id)
        except (VMNotFound, BackendFailure):
            if operation.status is not OperationStatus.SUCCEEDED:
                raise
            return _left(operation, before)


def _left(operation: Operation, before: VM) -> VM:
    status = GOALS.get(operation.plan[-1].verb, before.status)
    if operation.plan[-1].verb is Verb.CREATE:
        status = Status.RUNNING
    changes = operation.changes or Changes()
    metadata = changes.applied_to(before.metadata)
    name = changes.name or before.name
    return replace(before, status=status, task=None, name=name, metadata=metadata)


def during(vm: VM, operation: Operation | None) -> VM:
    """Return a VM with what is under way laid over it."""
    if operation is None:
        return vm
    building = operation.action is Action.CREATE
    status = Status.BUILDING if building else vm.status
    return replace(vm, status=status, task=operation.action.task)
