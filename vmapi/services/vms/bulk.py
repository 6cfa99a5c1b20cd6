"""One action on many VMs: an operation for each, carried out by the engine a few at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from vmapi.domain.caller import Caller
from vmapi.domain.lifecycle import Action, Status
from vmapi.domain.operation import Operation
from vmapi.domain.vm import VM, VMQuery
from vmapi.errors import VmapiError, VMNotFound
from vmapi.services.inventory.reader import VM_NOT_FOUND_DETAIL, InventoryReader
from vmapi.services.operations import preconditions as guard
from vmapi.services.operations.submission import OperationSubmitter
from vmapi.store.conflicts import IdempotencyKeyConflict
from vmapi.store.store import Store


@dataclass(frozen=True, slots=True)
class BulkResult:
    """What came of the action for one VM: an operation, or why there is none.

    One that is `replayed` was begun by the same request, which was made before.
    """

    vm_id: str
    operation: Operation | None = None
    error: VmapiError | None = None
    replayed: bool = False


class BulkService:
    """Asks the cloud once for all VMs, and leaves the changes to the engine.

    A key is bound to the VMs before anything is begun: a repeat is for these, and no others.
    """

    def __init__(
        self, reader: InventoryReader, submitter: OperationSubmitter, store: Store
    ) -> None:
        self._reader = reader
        self._submitter = submitter
        self._store = store

    def perform_by_ids(
        self, action: Action, ids: Sequence[str], caller: Caller
    ) -> Sequence[BulkResult]:
        """Begin an action on each of these VMs, in this order; once on one that is named twice.

        Raises IdempotencyKeyReused.
        """
        ids = _deduplicate(ids)
        vms = {vm.id: vm for vm in self._reader.list_all(VMQuery(), caller.scope)}
        if self._find_bound_ids(caller) is None and not self._bind_key(caller, ids):
            return self.perform_by_ids(action, ids, caller)
        return [self._submit_one(action, vm_id, vms.get(vm_id.lower()), caller) for vm_id in ids]

    def perform_by_filter(
        self, action: Action, query: VMQuery, caller: Caller
    ) -> Sequence[BulkResult]:
        """Begin an action on each VM that is asked for. Raises IdempotencyKeyReused."""
        if (ids := self._find_bound_ids(caller)) is not None:
            return self.perform_by_ids(action, ids, caller)
        vms = self._reader.list_all(query, caller.scope)
        if not self._bind_key(caller, [vm.id for vm in vms]):
            return self.perform_by_filter(action, query, caller)
        return [self._submit_one(action, vm.id, vm, caller) for vm in vms]

    def _find_bound_ids(self, caller: Caller) -> Sequence[str] | None:
        request = self._store.bulk_requests.find_by_key(caller.key) if caller.key else None
        if request is None or caller.key is None:
            return None
        guard.check_fingerprint(caller.key, request.fingerprint)
        return request.vm_ids

    def _bind_key(self, caller: Caller, ids: Sequence[str]) -> bool:
        # False where the same request, or another one, was first
        if caller.key is not None:
            try:
                self._store.bulk_requests.add(caller.key, ids)
            except IdempotencyKeyConflict:
                return False
        return True

    def _submit_one(self, action: Action, vm_id: str, vm: VM | None, caller: Caller) -> BulkResult:
        caller = _with_vm_key(caller, vm_id)
        try:
            if earlier := self._submitter.find_by_key(caller):
                return BulkResult(vm_id, earlier, replayed=True)
            if vm is None or vm.status is Status.DELETED:
                raise VMNotFound(VM_NOT_FOUND_DETAIL)
            wanted = self._submitter.new_vm_operation(
                vm, action, guard.plan_steps(vm, action), caller
            )
            kept = self._submitter.enqueue(wanted, caller, vm)
        except VmapiError as error:
            return BulkResult(vm_id, error=error)
        return BulkResult(vm_id, kept, replayed=kept.id != wanted.id)


def _deduplicate(ids: Sequence[str]) -> Sequence[str]:
    """Return each id as it is written first."""
    first: dict[str, str] = {}
    for vm_id in ids:
        first.setdefault(vm_id.lower(), vm_id)
    return list(first.values())


def _with_vm_key(caller: Caller, vm_id: str) -> Caller:
    if caller.key is None:
        return caller
    return replace(caller, key=replace(caller.key, value=f"{caller.key.value} {vm_id}"))
