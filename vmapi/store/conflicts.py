"""What there may be just one of, and somebody else has it."""

from vmapi.errors import NameTaken, TaskInProgress


class IdempotencyKeyConflict(Exception):
    """Another operation has this idempotency key."""


class OperationRevisionConflict(Exception):
    """Somebody else has moved this operation on since it was read."""


class VMRevisionConflict(Exception):
    """The VM is not as it was when an operation on it was asked for."""


def operation_in_progress() -> TaskInProgress:
    """Return the error for a VM with which something is under way."""
    return TaskInProgress("Another change of the VM is still under way.")


def name_taken(name: str, *, operation_id: str, vm_id: str | None, given: bool) -> NameTaken:
    """Return the error for a claimed name; `given` says that its VM has it by now."""
    holder = {"vm_id": vm_id} if vm_id else {"operation_id": operation_id}
    if given:
        return NameTaken(f"VM {vm_id} is called {name} already.", **holder)
    return NameTaken(f"The name {name} is being given to another VM.", **holder)
