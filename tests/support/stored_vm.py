"""One stored VM in several versions, and its snapshot in the inventory."""

from dataclasses import replace
from datetime import timedelta

from tests.support.factories import VM_1
from vmapi.domain.lifecycle import Status, Task
from vmapi.domain.operation import Operation, StepState
from vmapi.domain.snapshot import VMSnapshot
from vmapi.domain.vm import Address
from vmapi.store.inventory.repository import InventoryRepository
from vmapi.store.operations.repository import OperationRepository

VM_ID = "vm"
RUNNING = replace(
    VM_1,
    id=VM_ID,
    metadata={"é\n": "\U0001f600"},
    addresses=(Address("private", "198.18.0.2", 4, "fixed"),),
    security_groups=("default", "web"),
    key_name="k",
)
STOPPED = replace(RUNNING, status=Status.STOPPED, backend_status="SHUTOFF")
LATER = timedelta(seconds=1)


def get_snapshot(inventory: InventoryRepository) -> VMSnapshot:
    """Return the snapshot of the VM, which the inventory has."""
    snapshot = inventory.get(VM_ID)
    assert snapshot is not None
    return snapshot


def status_and_task(inventory: InventoryRepository) -> tuple[Status, Task | None]:
    """Return the status and the task that the inventory shows."""
    vm = get_snapshot(inventory).vm
    return vm.status, vm.task


def as_accepted(operation: Operation) -> Operation:
    """Return an operation with the acceptance of its step by the cloud."""
    assert operation.step is not None
    step = replace(operation.step, state=StepState.ACCEPTED, request_id="r")
    return replace(operation.with_step(step), vm_id=VM_ID)


def save_created(store: OperationRepository, operation: Operation) -> Operation:
    """Save that the cloud has accepted a create, with the VM to expect."""
    expected_vm = replace(RUNNING, status=Status.BUILDING, task=Task.CREATING, addresses=())
    return store.save(as_accepted(operation), expected_vm=expected_vm).operation
