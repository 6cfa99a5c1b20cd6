"""Names: within a project, one VM has each, wherever it was made."""

from vmapi import errors
from vmapi.backends.base import Backend
from vmapi.domain.operation import Operation
from vmapi.store.store import Store

MAX_NAME_CHECK_AGE = 5.0
"""Seconds: an inventory that is older is not asked whether a name is free."""


class NameReservations:
    """Claims names in the store, and looks in the cloud who has them."""

    def __init__(self, backend: Backend, store: Store) -> None:
        self._backend = backend
        self._store = store

    def insert_with_reservation(self, operation: Operation) -> Operation:
        """Keep a new operation, with the name that it claims. Raises what the store raises."""
        try:
            return self._store.operations.add(operation)
        except errors.NameTaken as taken:
            vm_id = taken.extra.get("vm_id")
            if vm_id is None or self._still_has_name(str(vm_id), operation):
                raise
            name = operation.reserved_name or ""
            self._store.operations.release_stale_name(operation.project, name, str(vm_id))
            return self._store.operations.add(operation)

    def is_free(self, operation: Operation) -> bool:
        """Tell that no VM has the name, as far as the inventory knows what is in the cloud now."""
        if operation.reserved_name is None:
            return True
        if self._backend.completes_immediately:
            return False
        inventory = self._store.inventory
        holder, age = inventory.find_by_name(operation.project, operation.reserved_name)
        return holder is None and age is not None and age < MAX_NAME_CHECK_AGE

    def verify_in_cloud(self, operation: Operation) -> None:
        """See in the cloud that no VM of the project has the name; else discard the operation.

        Raises NameTaken. The claim is ours already: of many who ask at once, one gets here at a
        time.
        """
        try:
            others = self._backend.list_vms(name=operation.reserved_name)
            holder = next((vm for vm in others if vm.project == operation.project), None)
            if holder is not None:
                detail = f"VM {holder.id} has the name {holder.name} already."
                raise errors.NameTaken(detail, vm_id=holder.id)
        except Exception as error:
            reason = error if isinstance(error, errors.VmapiError) else errors.InternalError("")
            self._store.operations.discard(operation, reason)
            raise

    def _still_has_name(self, vm_id: str, operation: Operation) -> bool:
        # deleted or renamed outside, or given to another project, its claim is nobody's
        if vm_id == operation.vm_id:
            return False
        try:
            vm = self._backend.get_vm(vm_id)
            return (vm.project, vm.name) == (operation.project, operation.reserved_name)
        except errors.VMNotFound as unknown:
            return unknown.hidden
        except errors.BackendFailure:
            return True
