"""Reserve VM names: within a project a name belongs to one VM, whether vmapi created it or not."""

from collections.abc import Callable, Sequence
from contextlib import suppress

from vmapi import errors
from vmapi.backends.base import Backend
from vmapi.domain.access.caller import IDEMPOTENCY_KEY_TTL
from vmapi.domain.operation import CreateWindow, NewOperation, Operation
from vmapi.domain.snapshot import VMSnapshot
from vmapi.domain.vm import VM
from vmapi.store.store import Store

MAX_NAME_CHECK_AGE = 5.0
"""Seconds. With an older inventory the cloud is asked for the name."""


class NameReservations:
    """Reserves names in the store, and checks the cloud for VMs created outside vmapi."""

    def __init__(
        self, backend: Backend, store: Store, create_window: Callable[[], CreateWindow]
    ) -> None:
        self._backend = backend
        self._store = store
        self._create_window = create_window

    def insert_with_reservation(self, new: NewOperation) -> VMSnapshot | None:
        """Insert a new operation and reserve its name.

        A reservation of a VM that was deleted or renamed outside vmapi is released. Raises
        NameTaken (409 `name_taken`) if another VM or operation holds the name, and the other
        errors of `OperationRepository.add`.
        """
        operation = new.operation
        try:
            return self._store.operations.add(operation, new.vm_revision)
        except errors.NameTaken as error:
            vm_id = error.extra.get("vm_id")
            if vm_id is None or self._still_has_name(str(vm_id), operation):
                raise
            name = operation.reserved_name or ""
            self._store.operations.release_stale_name(operation.project, name, str(vm_id))
            return self._store.operations.add(operation, new.vm_revision)

    def is_free(self, operation: Operation) -> bool:
        """Return whether it is proven that the name is free, or no name is needed.

        The inventory proves it, or a cloud that responds at once.
        """
        if operation.reserved_name is None:
            return True
        if self._backend.completes_immediately:
            with suppress(errors.BackendFailure):
                return not self._list_holders(operation)
            return False
        inventory = self._store.inventory
        holder, age = inventory.find_by_name(operation.project, operation.reserved_name)
        return holder is None and age is not None and age < MAX_NAME_CHECK_AGE

    def verify_in_cloud(self, operation: Operation) -> str | None:
        """Check in the cloud that no VM of the project has the name; else discard the operation.

        The operation holds the reservation: concurrent requests for one name check one by one.
        Returns the id of the VM that an earlier create of the same idempotency key has made, or
        None. Raises NameTaken for another VM, and the errors of the cloud.
        """
        tag = None
        try:
            holders = self._list_holders(operation)
            own = [vm for vm in holders if self._is_of_same_key(vm, operation)]
            if own:
                return min(own, key=lambda vm: (vm.created_at, vm.id)).id
            if holders:
                holder, tag = holders[0], holders[0].operation_id
                detail = f"VM {holder.id} has the name {holder.name} already."
                raise errors.NameTaken(detail, vm_id=holder.id)
        except Exception as error:
            reason = error if isinstance(error, errors.VmapiError) else errors.InternalError("")
            self._store.operations.discard(operation, reason, disclosed_create=tag)
            raise
        return None

    def _list_holders(self, operation: Operation) -> Sequence[VM]:
        vms = self._backend.list_vms(name=operation.reserved_name)
        return [vm for vm in vms if vm.project == operation.project]

    def _is_of_same_key(self, vm: VM, operation: Operation) -> bool:
        """Return whether an earlier create of the key has made a VM that no search has found."""
        if operation.key is None or vm.operation_id is None:
            return False
        try:
            earlier = self._store.operations.get(vm.operation_id, operation.project)
        except errors.OperationNotFound:
            return False
        return (
            earlier.freed_key == operation.key
            and operation.created_at - earlier.created_at < IDEMPOTENCY_KEY_TTL
            and earlier.has_created(vm, self._create_window())
        )

    def _still_has_name(self, vm_id: str, operation: Operation) -> bool:
        # a VM deleted, renamed or moved to another project outside vmapi needs no reservation
        if vm_id == operation.vm_id:
            return False
        try:
            vm = self._backend.get_vm(vm_id)
            return (vm.project, vm.name) == (operation.project, operation.reserved_name)
        except errors.VMNotFound as error:
            return error.hidden
        except errors.BackendFailure:
            return True
