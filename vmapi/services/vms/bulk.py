"""One action on many VMs: an operation for each, carried out by the engine a few at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vmapi.domain.lifecycle import Action, Status
from vmapi.domain.operation import Caller, Operation
from vmapi.domain.pagination import VMQuery
from vmapi.domain.vm import VM
from vmapi.errors import VmapiError, VMNotFound
from vmapi.services.inventory.reader import NO_VM, View
from vmapi.services.operations import preconditions as guard
from vmapi.services.operations.submission import Submission
from vmapi.store.conflicts import KeyTaken
from vmapi.store.store import Store


@dataclass(frozen=True, slots=True)
class Item:
    """What came of the action for one VM: an operation, or why there is none.

    One that is `replayed` was begun by the same request, which was made before.
    """

    vm_id: str
    operation: Operation | None = None
    error: VmapiError | None = None
    replayed: bool = False


class Bulk:
    """Asks the cloud once for all VMs, and leaves the changes to the engine.

    A key is bound to the VMs before anything is begun: a repeat is for these, and no others.
    """

    def __init__(self, view: View, submission: Submission, store: Store) -> None:
        self._view = view
        self._submission = submission
        self._store = store

    def of_ids(self, action: Action, ids: Sequence[str], caller: Caller) -> Sequence[Item]:
        """Begin an action on each of these VMs, in this order; once on one that is named twice.

        Raises IdempotencyKeyReused.
        """
        ids = _once(ids)
        vms = {vm.id: vm for vm in self._view.all(VMQuery(), caller.scope)}
        if self._bound(caller) is None and not self._bind(caller, ids):
            return self.of_ids(action, ids, caller)
        return [self._item(action, vm_id, vms.get(vm_id.lower()), caller) for vm_id in ids]

    def of_query(self, action: Action, query: VMQuery, caller: Caller) -> Sequence[Item]:
        """Begin an action on each VM that is asked for. Raises IdempotencyKeyReused."""
        if (ids := self._bound(caller)) is not None:
            return self.of_ids(action, ids, caller)
        vms = self._view.all(query, caller.scope)
        if not self._bind(caller, [vm.id for vm in vms]):
            return self.of_query(action, query, caller)
        return [self._item(action, vm.id, vm, caller) for vm in vms]

    def _bound(self, caller: Caller) -> Sequence[str] | None:
        request = self._store.bulk_requests.of_key(caller.key) if caller.key else None
        if request is None or caller.key is None:
            return None
        guard.check_fingerprint(caller.key, request.fingerprint)
        return request.vm_ids

    def _bind(self, caller: Caller, ids: Sequence[str]) -> bool:
        # False where the same request, or another one, was first
        if caller.key is not None:
            try:
                self._store.bulk_requests.add(caller.key, ids)
            except KeyTaken:
                return False
        return True

    def _item(self, action: Action, vm_id: str, vm: VM | None, caller: Caller) -> Item:
        caller = _for_one(caller, vm_id)
        try:
            if earlier := self._submission.bound(caller):
                return Item(vm_id, earlier, replayed=True)
            if vm is None or vm.status is Status.DELETED:
                raise VMNotFound(NO_VM)
            wanted = self._submission.on(vm, action, guard.plan(vm, action), caller)
            kept = self._submission.enqueue(wanted, caller, vm)
        except VmapiError as error:
            return Item(vm_id, error=error)
        return Item(vm_id, kept, replayed=kept.id != wanted.id)


def _once(ids: Sequence[str]) -> Sequence[str]:
    """Return each id as it is written first."""
    first: dict[str, str] = {}
    for vm_id in ids:
        first.setdefault(vm_id.lower(), vm_id)
    return list(first.values())


def _for_one(caller: Caller, vm_id: str) -> Caller:
    if caller.key is None:
        return caller
    return replace(caller, key=replace(caller.key, value=f"{caller.key.value} {vm_id}"))
