"""One action on many VMs: an operation for each, which the engine carries out in the background.

An idempotency key is bound to the ids of the VMs before the first operation is inserted: a repeated
request is for the same VMs, although its filter may match others by now.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from vmapi.domain.caller import Caller
from vmapi.domain.lifecycle import Action, Status
from vmapi.domain.operation import NewOperation, Operation
from vmapi.domain.vm import VM, VMQuery
from vmapi.errors import VmapiError, VMNotFound
from vmapi.services.inventory.reader import VM_NOT_FOUND_DETAIL, InventoryReader
from vmapi.services.operations import preconditions
from vmapi.services.operations.idempotency import IdempotencyService
from vmapi.services.operations.submission import build_vm_operation
from vmapi.store.conflicts import IdempotencyKeyConflict
from vmapi.store.store import Store


@dataclass(frozen=True, slots=True)
class BulkResult:
    """The result for one VM: an operation or an error."""

    vm_id: str
    operation: Operation | None = None
    error: VmapiError | None = None
    replayed: bool = False
    """Whether an earlier request with the same key has inserted the operation."""


class BulkService:
    """Submits an operation for each VM. `clock` returns the time in UTC."""

    def __init__(
        self,
        reader: InventoryReader,
        idempotency: IdempotencyService,
        store: Store,
        clock: Callable[[], datetime],
    ) -> None:
        self._reader = reader
        self._idempotency = idempotency
        self._store = store
        self._clock = clock

    def perform_by_ids(
        self, action: Action, ids: Sequence[str], caller: Caller
    ) -> Sequence[BulkResult]:
        """Submit an action for each of these VMs, in this order; once for a repeated id.

        Raises IdempotencyKeyReused.
        """
        ids = _deduplicate(ids)
        vms = self._reader.get_many([vm_id.lower() for vm_id in ids], caller.scope)
        if self._find_bound_ids(caller) is None and not self._bind_key(caller, ids):
            return self.perform_by_ids(action, ids, caller)
        return [self._submit_one(action, vm_id, vms.get(vm_id.lower()), caller) for vm_id in ids]

    def perform_by_filter(
        self, action: Action, query: VMQuery, caller: Caller
    ) -> Sequence[BulkResult]:
        """Submit an action for each VM that the query matches. Raises IdempotencyKeyReused."""
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
        preconditions.check_fingerprint(caller.key, request.fingerprint)
        return request.vm_ids

    def _bind_key(self, caller: Caller, ids: Sequence[str]) -> bool:
        """Bind the caller's key to the VMs; False if a concurrent request was first."""
        if caller.key is not None:
            try:
                self._store.bulk_requests.add(caller.key, ids)
            except IdempotencyKeyConflict:
                return False
        return True

    def _submit_one(self, action: Action, vm_id: str, vm: VM | None, caller: Caller) -> BulkResult:
        caller = _with_vm_key(caller, vm_id)

        def build() -> NewOperation:
            if vm is None or vm.status is Status.DELETED:
                raise VMNotFound(VM_NOT_FOUND_DETAIL)
            steps = preconditions.plan_steps(vm, action)
            return build_vm_operation(caller, vm, action, steps, self._clock())

        try:
            operation, replayed = self._idempotency.run_in_background(caller, build)
        except VmapiError as error:
            return BulkResult(vm_id, error=error)
        return BulkResult(vm_id, operation, replayed=replayed)


def _deduplicate(ids: Sequence[str]) -> Sequence[str]:
    """Drop repeated ids, which may differ in case; keep the first spelling."""
    first: dict[str, str] = {}
    for vm_id in ids:
        first.setdefault(vm_id.lower(), vm_id)
    return list(first.values())


def _with_vm_key(caller: Caller, vm_id: str) -> Caller:
    """Derive the idempotency key of one VM's operation from the key of the bulk request."""
    if caller.key is None:
        return caller
    return replace(caller, key=replace(caller.key, value=f"{caller.key.value} {vm_id.lower()}"))
