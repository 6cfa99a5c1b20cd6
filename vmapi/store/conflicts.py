"""Conflicts between concurrent writers: each rule admits one of them."""

from vmapi.errors import NameTaken, TaskInProgress


class IdempotencyKeyConflict(Exception):
    """Another operation has this idempotency key."""


class OperationRevisionConflict(Exception):
    """Another worker has saved this operation since it was read."""


class VMsInProgress(Exception):
    """VMs of a bulk operation have another unfinished operation."""

    def __init__(self, vm_ids: frozenset[str]) -> None:
        super().__init__(f"{len(vm_ids)} VMs")
        self.vm_ids = vm_ids


class VMRevisionConflict(Exception):
    """The VM has changed since the client read it."""


def operation_in_progress() -> TaskInProgress:
    """Return the error for a VM that has an unfinished operation."""
    return TaskInProgress("Another change of the VM is still in progress.")


def name_taken(name: str, *, operation_id: str, vm_id: str | None, is_assigned: bool) -> NameTaken:
    """Return the error for a reserved name; `is_assigned`: its VM has it already."""
    holder = {"vm_id": vm_id} if vm_id else {"operation_id": operation_id}
    if is_assigned:
        return NameTaken(f"VM {vm_id} has the name {name} already.", **holder)
    return NameTaken(f"The name {name} is reserved for another VM.", **holder)
