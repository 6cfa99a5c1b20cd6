"""From VMs to rows and back."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from vmapi.models.lifecycle import Status, Task
from vmapi.models.vm import VM, Address, Fault
from vmapi.store.moment import EPOCH, MICROSECOND

KNOWN = (
    *("name", "flavor", "image", "created_at", "updated_at", "addresses", "metadata", "key_name"),
    *("security_groups", "locked", "launched", "project", "vcpus", "ram_mb"),
)
"""What does not change because the cloud cannot tell it."""

TIMES = ("created_at", "updated_at")


def of_vm(vm: VM) -> dict[str, Any]:
    """Return what a row says of a VM as the cloud has it, without what is under way."""
    document = asdict(vm)
    for name in TIMES:
        document[name] = (getattr(vm, name) - EPOCH) // MICROSECOND
    document["addresses"] = [asdict(address) for address in vm.addresses]
    document["security_groups"] = list(vm.security_groups)
    document["metadata"] = dict(vm.metadata)
    gone = vm.status is Status.DELETED
    return {
        "id": vm.id,
        "name": vm.name,
        "flavor": vm.flavor,
        "image": vm.image,
        "created_at": vm.created_at,
        "updated_at": vm.updated_at,
        "deleted_at": vm.updated_at if gone else None,
        "project": vm.project,
        "vcpus": vm.vcpus,
        "ram_mb": vm.ram_mb,
        "operation_id": vm.operation_id,
        "observed": document,
    }


def completed(vm: VM, row: Row[Any]) -> VM:
    """Return a VM as the cloud has it by now.

    While the cell of a VM is down, the cloud tells no more than its id and that nothing is known:
    the rest is as it was. Which create made a VM and whose it was stays known when it is deleted.
    """
    if vm.operation_id is None:
        vm = replace(vm, operation_id=row.operation_id)
    if not vm.flavor and row.flavor:
        known = observed(row)
        vm = replace(vm, **{name: getattr(known, name) for name in KNOWN})
    return vm if vm.project else replace(vm, project=row.project)


def observed(row: Row[Any]) -> VM:
    """Return the VM of a row as the cloud had it."""
    return replace(of_document(row.observed), project=row.project)


def of_document(observed: Mapping[str, Any]) -> VM:
    """Return the VM that a document of `of_vm` tells of."""
    document = dict(observed)
    fault = document.pop("fault")
    return VM(
        **{
            **document,
            "status": Status(document["status"]),
            "task": Task(document["task"]) if document["task"] else None,
            "created_at": _time(document["created_at"]),
            "updated_at": _time(document["updated_at"]),
            "addresses": tuple(Address(**each) for each in document["addresses"]),
            "security_groups": tuple(document["security_groups"]),
        },
        fault=Fault(**fault) if fault else None,
    )


def vm(row: Row[Any]) -> VM:
    """Return the VM of a row as it is shown."""
    task = Task(row.task) if row.task else None
    return replace(observed(row), status=Status(row.status), task=task)


def deleted(seen: VM, at: datetime) -> VM:
    """Return a VM as it is once the cloud knows it no more."""
    return replace(seen, status=Status.DELETED, task=None, updated_at=max(at, seen.updated_at))


def _time(microseconds: int) -> datetime:
    return EPOCH + microseconds * MICROSECOND
