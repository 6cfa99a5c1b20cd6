"""Duplicate VMs: of a create that was sent twice, or arrived after its timeout.

A create tags its VM with the id of its operation. Any user of the cloud can copy the tag, and a
delete cannot be undone. So a tagged VM counts as the create's own only with the project, name,
flavor and image of the create, and with a creation time in the window of the create. Such a VM is a
duplicate if the response of the cloud was lost, and the operation has another VM or has failed
because no VM was found. The full sync deletes duplicates.

Invariants:

- A VM that a 409 response has named is no duplicate, nor is one that a later create has.
- Once a create has its VM from a response, no other VM is a duplicate of it. The same holds for a
  create that the cloud has refused.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Connection,
    Row,
    Select,
    bindparam,
    exists,
    or_,
    select,
    type_coerce,
)

from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import CreateWindow, Operation
from vmapi.domain.vm import VM
from vmapi.errors import BackendTimeout, OperationTimeout
from vmapi.store.clock import db_now
from vmapi.store.mappers import operation as operation_mapper
from vmapi.store.mappers import vm as vm_mapper
from vmapi.store.tables import operations, vms

DELETE_RETRY_INTERVAL_US = 3_600_000_000
"""Microseconds before a failed delete of a duplicate is attempted again."""


@dataclass(frozen=True, slots=True)
class DuplicateVM:
    """A duplicate, with the create of its tag and the project of the create."""

    vm_id: str
    name: str
    operation_id: str
    project: str


DELETE_ATTEMPTS = operations.alias("delete_attempts")
LATER_CREATES = operations.alias("later_creates")
CREATED_ANOTHER_VM = (operations.c.vm_id != vms.c.id) & operations.c.is_recovered
FAILED_WITHOUT_VM = operations.c.vm_id.is_(None) & operations.c.finished_at.is_not(None)
WAS_NOT_FOUND = FAILED_WITHOUT_VM & (operations.c.error["code"].as_string() == BackendTimeout.code)
TIMED_OUT_WITHOUT_VM = FAILED_WITHOUT_VM & (
    operations.c.error["code"].as_string() == OperationTimeout.code
)
WAS_DELETED_RECENTLY = exists().where(
    DELETE_ATTEMPTS.c.vm_id == vms.c.id,
    DELETE_ATTEMPTS.c.action == Action.DELETE,
    type_coerce(DELETE_ATTEMPTS.c.created_at, BigInteger) > db_now() - DELETE_RETRY_INTERVAL_US,
)
# the response to a later create of the same name may have referred its client to this VM, or the
# later create has it
WAS_REQUESTED_AGAIN = exists().where(
    LATER_CREATES.c.project == operations.c.project,
    LATER_CREATES.c.reserved_name == operations.c.reserved_name,
    LATER_CREATES.c.id != operations.c.id,
    LATER_CREATES.c.created_at >= operations.c.created_at,
    LATER_CREATES.c.vm_id.is_(None) | (LATER_CREATES.c.vm_id == vms.c.id),
)
SELECT_TAGGED_VMS = (
    select(
        operations,
        *(vms.c[name].label(f"tagged_{name}") for name in ("id", "observed", "project")),
    )
    .join(vms, operations.c.id == vms.c.operation_id)
    .where(
        vms.c.deleted_at.is_(None),
        vms.c.project == operations.c.project,
        vms.c.name == operations.c.reserved_name,
        operations.c.action == Action.CREATE,
    )
)
SELECT_DUPLICATES = SELECT_TAGGED_VMS.where(
    or_(CREATED_ANOTHER_VM, WAS_NOT_FOUND & ~WAS_REQUESTED_AGAIN),
    ~operations.c.is_vm_disclosed,
    ~WAS_DELETED_RECENTLY,
)
SELECT_LOST_CREATES = SELECT_TAGGED_VMS.where(TIMED_OUT_WITHOUT_VM).order_by(
    vms.c.created_at, vms.c.id
)
ADOPT_VM = (
    operations.update()
    .where(operations.c.id == bindparam("of"), operations.c.vm_id.is_(None))
    .values(
        vm_id=bindparam("created_vm_id"),
        is_recovered=True,
        revision=operations.c.revision + 1,
    )
)


def adopt(connection: Connection, window: CreateWindow) -> None:
    """Assign the oldest tagged VM to each create that timed out without a response.

    The idempotency key stays bound: a client that repeats the create gets this VM.
    """
    for operation, vm in list(_matching_vms(connection, SELECT_LOST_CREATES, window)):
        # a later VM of the same create changes nothing: the operation has a VM already
        connection.execute(ADOPT_VM, {"of": operation.id, "created_vm_id": vm.id})


def mark_disclosed(connection: Connection, create_id: str, project: str) -> None:
    """Save that a response names the VM with the tag of a create of a project.

    The VM may be unknown to the inventory, so its create has the mark.
    """
    is_create = (operations.c.id == create_id) & (operations.c.project == project)
    connection.execute(operations.update().where(is_create).values(is_vm_disclosed=True))


def find_duplicates(connection: Connection, window: CreateWindow) -> list[DuplicateVM]:
    """Return the VMs to delete."""
    return [
        DuplicateVM(vm.id, vm.name, operation.id, operation.project)
        for operation, vm in _matching_vms(connection, SELECT_DUPLICATES, window)
    ]


def _matching_vms(
    connection: Connection, query: Select[Any], window: CreateWindow
) -> Iterator[tuple[Operation, VM]]:
    for row in connection.execute(query).all():
        operation, vm = operation_mapper.from_row(row), _tagged_vm(row)
        if operation.has_created(vm, window):
            yield operation, vm


def _tagged_vm(row: Row[Any]) -> VM:
    document = {**row.tagged_observed, "project": row.tagged_project}
    return vm_mapper.from_document(document)
