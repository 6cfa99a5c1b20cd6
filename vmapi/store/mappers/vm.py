"""Map VMs to inventory rows and back.

A row has the columns that queries use, and the observed VM as a document. `status` and `task` of
the row have the overlay applied; those of the document are the observed ones.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from vmapi.domain.lifecycle import Status, Task
from vmapi.domain.vm import VM, Address, Fault
from vmapi.store.clock import from_epoch_us, to_epoch_us

RETAINED_FIELDS = (
    *("name", "flavor", "image", "created_at", "updated_at", "addresses", "metadata", "key_name"),
    *("security_groups", "locked", "launched", "project", "vcpus", "ram_mb"),
)
"""Fields of the row that stay valid while the cloud cannot report them."""

VM_TIME_FIELDS = ("created_at", "updated_at")

VM_FIELDS = tuple(member.name for member in fields(VM))


def to_row(vm: VM) -> dict[str, Any]:
    """Return the columns of an observed VM, without the overlaid status and task."""
    document = {name: getattr(vm, name) for name in VM_FIELDS}
    document["fault"] = asdict(vm.fault) if vm.fault else None
    for name in VM_TIME_FIELDS:
        document[name] = to_epoch_us(getattr(vm, name))
    document["addresses"] = [asdict(address) for address in vm.addresses]
    document["security_groups"] = list(vm.security_groups)
    document["metadata"] = dict(vm.metadata)
    return {
        "id": vm.id,
        "name": vm.name,
        "flavor": vm.flavor,
        "image": vm.image,
        "created_at": vm.created_at,
        "updated_at": vm.updated_at,
        "deleted_at": vm.updated_at if vm.status is Status.DELETED else None,
        "project": vm.project,
        "vcpus": vm.vcpus,
        "ram_mb": vm.ram_mb,
        "operation_id": vm.operation_id,
        "observed": document,
    }


def fill_unknown(vm: VM, row: Row[Any]) -> VM:
    """Return an observed VM with unknown fields filled in from its row.

    While the cell of a VM is down, the cloud reports the id only. A deleted VM loses its operation
    and project in the cloud, not here. The first known `created_at` stays: lists sort by it.
    """
    if vm.created_at != row.created_at:
        vm = replace(vm, created_at=row.created_at)
    if vm.operation_id is None:
        vm = replace(vm, operation_id=row.operation_id)
    if not vm.flavor and row.flavor:
        previous = observed_vm(row)
        vm = replace(vm, **{name: getattr(previous, name) for name in RETAINED_FIELDS})
    return vm if vm.project else replace(vm, project=row.project)


def observed_vm(row: Row[Any]) -> VM:
    """Return the VM of a row as observed, without the overlay."""
    return replace(from_document(row.observed), project=row.project)


def from_document(document: Mapping[str, Any]) -> VM:
    """Return the VM of a document that `to_row` has built."""
    return build(document, document["status"], document["task"], document.get("project"))


def from_row(row: Row[Any]) -> VM:
    """Return the VM of a row with the overlay applied."""
    return build(row.observed, row.status, row.task, row.project)


def from_values(values: Mapping[str, Any]) -> VM:
    """Return the VM of the columns of a row by name, with the overlay applied."""
    return build(values["observed"], values["status"], values["task"], values["project"])


def as_deleted(vm: VM, at: datetime) -> VM:
    """Return a VM that the cloud has deleted at a time."""
    return replace(vm, status=Status.DELETED, task=None, updated_at=max(at, vm.updated_at))


def build(document: Mapping[str, Any], status: str, task: str | None, project: Any) -> VM:
    """Return the VM of a document, with the values of columns that precede it."""
    values = dict(document)
    values["status"] = Status(status)
    values["task"] = Task(task) if task else None
    values["project"] = project
    values["created_at"] = from_epoch_us(values["created_at"])
    values["updated_at"] = from_epoch_us(values["updated_at"])
    values["addresses"] = tuple([Address(**address) for address in values["addresses"]])
    values["security_groups"] = tuple(values["security_groups"])
    if values["fault"]:
        values["fault"] = Fault(**values["fault"])
    return VM(**values)
