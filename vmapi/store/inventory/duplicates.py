"""Duplicate VMs: of a create that was sent twice, or arrived after its timeout.

A create tags its VM with the id of its operation. A tagged VM is a duplicate if the operation has
another VM, or has failed without one. The full sync deletes duplicates.
"""

from dataclasses import dataclass

from sqlalchemy import BigInteger, Connection, bindparam, exists, or_, select, type_coerce

from vmapi.domain.lifecycle import Action
from vmapi.errors import OperationTimeout
from vmapi.store.database import db_now
from vmapi.store.tables import operations, vms

MAX_TAG_AGE_US = 3_600_000_000
"""Microseconds after the create: a VM that is younger has a tag that a user has copied."""

DELETE_RETRY_INTERVAL_US = 3_600_000_000
"""Microseconds before a failed delete of a duplicate is attempted again."""


@dataclass(frozen=True, slots=True)
class DuplicateVM:
    """A duplicate, with the create of its tag and the project of the create."""

    vm_id: str
    name: str
    operation_id: str
    project: str


OPERATION_CREATED_US = type_coerce(operations.c.created_at, BigInteger)
VM_CREATED_US = type_coerce(vms.c.created_at, BigInteger)
DELETE_ATTEMPTS = operations.alias("delete_attempts")
CREATED_ANOTHER_VM = operations.c.vm_id != vms.c.id
FINISHED_WITHOUT_VM = operations.c.vm_id.is_(None) & operations.c.finished_at.is_not(None)
TIMED_OUT_WITHOUT_VM = FINISHED_WITHOUT_VM & (
    operations.c.error["code"].as_string() == OperationTimeout.code
)
WAS_DELETED_RECENTLY = exists().where(
    DELETE_ATTEMPTS.c.vm_id == vms.c.id,
    DELETE_ATTEMPTS.c.action == Action.DELETE,
    type_coerce(DELETE_ATTEMPTS.c.created_at, BigInteger) > db_now() - DELETE_RETRY_INTERVAL_US,
)
SELECT_TAGGED_VMS = (
    select(vms.c.id, vms.c.name, operations.c.id.label("operation_id"), operations.c.project)
    .join(operations, operations.c.id == vms.c.operation_id)
    .where(
        vms.c.deleted_at.is_(None),
        vms.c.project == operations.c.project,
        VM_CREATED_US < OPERATION_CREATED_US + MAX_TAG_AGE_US,
    )
)
SELECT_DUPLICATES = SELECT_TAGGED_VMS.where(
    or_(CREATED_ANOTHER_VM, FINISHED_WITHOUT_VM), ~WAS_DELETED_RECENTLY
)
SELECT_LOST_CREATES = SELECT_TAGGED_VMS.where(TIMED_OUT_WITHOUT_VM).order_by(
    vms.c.created_at, vms.c.id
)
ADOPT_VM = (
    operations.update()
    .where(operations.c.id == bindparam("of"), operations.c.vm_id.is_(None))
    .values(vm_id=bindparam("created_vm_id"), revision=operations.c.revision + 1)
)


def adopt(connection: Connection) -> None:
    """Assign the oldest tagged VM to each create that timed out without a response.

    The idempotency key stays bound: a client that repeats the create gets this VM.
    """
    for row in connection.execute(SELECT_LOST_CREATES).all():
        # a later VM of the same create changes nothing: the operation has a VM already
        connection.execute(ADOPT_VM, {"of": row.operation_id, "created_vm_id": row.id})


def find_duplicates(connection: Connection) -> list[DuplicateVM]:
    """Return the VMs to delete."""
    rows = connection.execute(SELECT_DUPLICATES)
    return [DuplicateVM(row.id, row.name, row.operation_id, row.project) for row in rows]
