"""From VMs to rows and back."""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from vmapi.domain.lifecycle import Status, Task
from vmapi.domain.vm import VM, Address, Fault
from vmapi.store.types import from_epoch_us, to_epoch_us

RETAINED_FIELDS = (
    *("name", "flavor", "image", "created_at", "updated_at", "addresses", "metadata", "key_name"),
    *("security_groups", "locked", "launched", "project", "vcpus", "ram_mb"),
)
"""What does not change because the cloud cannot tell it."""

VM_TIME_FIELDS = ("created_at", "updated_at")

VM_FIELDS = tuple(member.name for member in fields(VM))


def to_row(vm: VM) -> dict[str, Any]:
    """Return what a row says of a VM as the cloud has it, without what is under way."""
    document = {name: getattr(vm, name) for name in VM_FIELDS}
    document["fault"] = asdict(vm.fault) if vm.fault else None
    for name in VM_TIME_FIELDS:
        document[name] = to_epoch_us(getattr(vm, name))
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


def fill_unknown(vm: VM, row: Row[Any]) -> VM:
    """Return a VM as the cloud has it by now.

    While the cell of a VM is down, the cloud tells no more than its id and that nothing is known:
    the rest is as it was. Which create made a VM and whose it was stays known when it is deleted.
    When it was made stays as it was told first: by that, lists have it in its place.
    """
    if vm.created_at != row.created_at:
        vm = replace(vm, created_at=row.created_at)
    if vm.operation_id is None:
        vm = replace(vm, operation_id=row.operation_id)
    if not vm.flavor and row.flavor:
        known = observed_vm(row)
        vm = replace(vm, **{name: getattr(known, name) for name in RETAINED_FIELDS})
    return vm if vm.project else replace(vm, project=row.project)


def observed_vm(row: Row[Any]) -> VM:
    """Return the VM of a row as the cloud had it."""
    return replace(from_document(row.observed), project=row.project)


def from_document(document: Mapping[str, Any]) -> VM:
    """Return the VM that a document of `of_vm` tells of."""
    return _build(document, document["status"], document["task"], document.get("project"))


def from_row(row: Row[Any]) -> VM:
    """Return the VM of a row as it is shown."""
    return _build(row.observed, row.status, row.task, row.project)


def _build(document: Mapping[str, Any], status: str, task: str | None, project: Any) -> VM:
    given = dict(document)
    given["status"] = Status(status)
    given["task"] = Task(task) if task else None
    given["project"] = project
    given["created_at"] = from_epoch_us(given["created_at"])
    given["updated_at"] = from_epoch_us(given["updated_at"])
    given["addresses"] = tuple([Address(**each) for each in given["addresses"]])
    given["security_groups"] = tuple(given["security_groups"])
    if given["fault"]:
        given["fault"] = Fault(**given["fault"])
    return VM(**given)


def as_deleted(seen: VM, at: datetime) -> VM:
    """Return a VM as it is once the cloud knows it no more."""
    return replace(seen, status=Status.DELETED, task=None, updated_at=max(at, seen.updated_at))
