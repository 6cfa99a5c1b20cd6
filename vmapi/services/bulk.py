"""One action on many VMs: an operation for each, carried out by the engine a few at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vmapi.errors import VmapiError, VMNotFound
from vmapi.models.lifecycle import Action
from vmapi.models.operation import Caller, Operation
from vmapi.models.page import VMQuery
from vmapi.models.vm import VM
from vmapi.services import guard
from vmapi.services.submission import Submission
from vmapi.services.view import NO_VM, View


@dataclass(frozen=True, slots=True)
class Item:
    """What came of the action for one VM: an operation, or why there is none."""

    vm_id: str
    operation: Operation | None = None
    error: VmapiError | None = None


class Bulk:
    """Asks the cloud once for all VMs, and leaves the changes to the engine."""

    def __init__(self, view: View, submission: Submission) -> None:
        self._view = view
        self._submission = submission

    def of_ids(self, action: Action, ids: Sequence[str], caller: Caller) -> Sequence[Item]:
        """Begin an action on each of these VMs, in this order."""
        vms = {vm.id: vm for vm in self._view.all(VMQuery(), caller.scope)}
        return [self._item(action, vm_id, vms.get(vm_id.lower()), caller) for vm_id in ids]

    def of_query(self, action: Action, query: VMQuery, caller: Caller) -> Sequence[Item]:
        """Begin an action on each VM that is asked for."""
        return [self._item(action, vm.id, vm, caller) for vm in self._view.all(query, caller.scope)]

    def _item(self, action: Action, vm_id: str, vm: VM | None, caller: Caller) -> Item:
        try:
            return Item(vm_id, self._operation(action, vm, _for_one(caller, vm_id)))
        except VmapiError as error:
            return Item(vm_id, error=error)

    def _operation(self, action: Action, vm: VM | None, caller: Caller) -> Operation:
        if earlier := self._submission.bound(caller):
            return earlier
        if vm is None:
            raise VMNotFound(NO_VM)
        operation = self._submission.on(vm, action, guard.plan(vm, action), caller)
        return self._submission.enqueue(operation, caller, vm)


def _for_one(caller: Caller, vm_id: str) -> Caller:
    if caller.key is None:
        return caller
    return replace(caller, key=replace(caller.key, value=f"{caller.key.value} {vm_id}"))
