"""One action on many VMs: one bulk operation, with an operation for each VM that allows the action.

All operations are inserted in one transaction, with the refusals and the idempotency key. So a
repeated request gets the same VMs and the same refusals, although its filter may match other VMs by
now. The engine carries the operations out in the background.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from vmapi.backends.base import Backend
from vmapi.domain.access.caller import Caller
from vmapi.domain.access.project import NO_PROJECT
from vmapi.domain.bulk import BulkItem, BulkOperation
from vmapi.domain.lifecycle import Action, Status
from vmapi.domain.operation import NewOperation, OperationError
from vmapi.domain.storable_text import storable_json, storable_text
from vmapi.domain.vm import VM, VMQuery
from vmapi.errors import ValidationFailed, VmapiError, VMNotFound
from vmapi.services.inventory.reader import VM_NOT_FOUND_DETAIL, InventoryReader
from vmapi.services.operations import preconditions
from vmapi.services.operations.service import OperationService
from vmapi.services.operations.submission import build_vm_operation
from vmapi.store.conflicts import IdempotencyKeyConflict, VMsInProgress, operation_in_progress
from vmapi.store.store import Store

MAX_BULK_VMS = 10_000
"""The VMs that one filter may match: they are admitted in one transaction."""

Selection = Mapping[str, VM | None]
"""The VMs of a bulk request by the id that the client wrote; None for an unknown VM."""


@dataclass(frozen=True, slots=True)
class BulkResult:
    """A bulk operation, and whether an earlier request with the same key has made it."""

    bulk: BulkOperation
    replayed: bool = False


class BulkService:
    """Submits bulk operations. `clock` returns the time in UTC."""

    def __init__(
        self,
        backend: Backend,
        reader: InventoryReader,
        operations: OperationService,
        store: Store,
        clock: Callable[[], datetime],
    ) -> None:
        self._backend = backend
        self._reader = reader
        self._operations = operations
        self._store = store
        self._clock = clock

    def perform_by_ids(self, action: Action, ids: Sequence[str], caller: Caller) -> BulkResult:
        """Submit an action for each of these VMs, in this order; once for a repeated id.

        Waits for the end as the caller prefers. Raises IdempotencyKeyReused and BackendFailure.
        """

        def select() -> Selection:
            spellings = _deduplicate(ids)
            vms = self._reader.get_many(list(spellings), caller.scope)
            return {spelling: vms.get(vm_id) for vm_id, spelling in spellings.items()}

        return self._run(action, select, caller)

    def perform_by_filter(self, action: Action, query: VMQuery, caller: Caller) -> BulkResult:
        """Submit an action for each VM that the query matches, as `perform_by_ids` does.

        Raises ValidationFailed for more than `MAX_BULK_VMS` VMs.
        """

        def select() -> Selection:
            vms: dict[str, VM | None] = {}
            for page in self._reader.read_pages(query, caller.scope):
                if page.total > MAX_BULK_VMS:
                    message = f"Matches {page.total} VMs; at most {MAX_BULK_VMS} are allowed."
                    raise ValidationFailed(f"/filter: {message}", ("/filter", message))
                vms |= {vm.id: vm for vm in page.items}
            return vms

        return self._run(action, select, caller)

    def _run(self, action: Action, select: Callable[[], Selection], caller: Caller) -> BulkResult:
        result = self._replay(caller)
        if result is None:
            self._backend.check_available()
            try:
                result = BulkResult(self._submit(action, select(), caller))
            except IdempotencyKeyConflict:
                # a concurrent request with the same key was first
                return self._run(action, select, caller)
        if caller.wait_seconds and not result.bulk.is_finished:
            bulk = self._operations.wait_for_bulk(result.bulk, caller.wait_seconds, caller.user)
            return replace(result, bulk=bulk)
        return result

    def _replay(self, caller: Caller) -> BulkResult | None:
        """Return the result of the request that this one repeats. Raises IdempotencyKeyReused."""
        if caller.key is None:
            return None
        bulk = self._store.operations.bulk.find_by_key(caller.key)
        if bulk is None or bulk.key is None:
            return None
        preconditions.check_fingerprint(caller.key, bulk.key.fingerprint)
        return BulkResult(bulk, replayed=True)

    def _submit(self, action: Action, selection: Selection, caller: Caller) -> BulkOperation:
        """Insert the bulk operation. Refuse the VMs that another operation has begun on."""
        busy_ids: frozenset[str] = frozenset()
        while True:
            bulk, started = self._plan(action, selection, busy_ids, caller)
            try:
                self._store.operations.bulk.add(bulk)
            except VMsInProgress as conflict:
                busy_ids |= conflict.vm_ids
                latest = self._store.inventory.get_many(list(busy_ids), caller.scope)
                selection = {
                    vm_id: (vm and latest.get(vm.id, vm)) for vm_id, vm in selection.items()
                }
            else:
                self._operations.start_all_in_background(started)
                return bulk

    def _plan(
        self, action: Action, selection: Selection, busy_ids: frozenset[str], caller: Caller
    ) -> tuple[BulkOperation, Sequence[NewOperation]]:
        bulk = BulkOperation(
            id=str(uuid.uuid4()),
            action=action,
            items=(),
            created_at=self._clock(),
            requested_by=caller.user,
            request_id=caller.request_id,
            project=_common_project(selection, caller),
            key=caller.key,
        )
        items, started = [], []
        for vm_id, vm in selection.items():
            try:
                new = _build_operation(bulk, vm, vm is not None and vm.id in busy_ids, caller)
            except VmapiError as error:
                items.append(BulkItem(vm_id, error=_storable_error(error)))
            else:
                items.append(BulkItem(vm_id, operation_id=new.operation.id))
                started.append(new)
        operations = {new.operation.id: new.operation for new in started}
        return replace(bulk, items=tuple(items), operations=operations), started


def _build_operation(
    bulk: BulkOperation, vm: VM | None, is_busy: bool, caller: Caller
) -> NewOperation:
    """Build the operation of one VM. Raises VMNotFound and the errors of `plan_steps`."""
    if vm is None or vm.status is Status.DELETED:
        raise VMNotFound(VM_NOT_FOUND_DETAIL)
    steps = preconditions.plan_steps(vm, bulk.action)
    if is_busy:
        raise preconditions.with_vm_state(operation_in_progress(), vm)
    if caller.key is not None:
        caller = replace(caller, key=caller.key.for_vm(vm.id))
    return build_vm_operation(caller, vm, bulk.action, steps, bulk.created_at, bulk_id=bulk.id)


def _common_project(selection: Selection, caller: Caller) -> str:
    projects = {vm.project for vm in selection.values() if vm is not None}
    return caller.project if projects <= {caller.project, None} else NO_PROJECT


def _storable_error(error: VmapiError) -> OperationError:
    return OperationError(error.code, storable_text(error.detail), storable_json(error.extra))


def _deduplicate(ids: Sequence[str]) -> Mapping[str, str]:
    """Return the first spelling of each id by the id in lower case."""
    spellings: dict[str, str] = {}
    for vm_id in ids:
        spellings.setdefault(vm_id.lower(), vm_id)
    return spellings
