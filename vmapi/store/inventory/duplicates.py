"""VMs that nobody asked for: made by a create that was sent twice, or came through too late."""

from dataclasses import dataclass

from sqlalchemy import BigInteger, Connection, bindparam, exists, or_, select, type_coerce

from vmapi.domain.lifecycle import Action
from vmapi.errors import OperationTimeout
from vmapi.store.database import db_now
from vmapi.store.tables import operations, vms

MAX_TAG_AGE_US = 3_600_000_000
"""Microseconds: what was made later has the mark of a create because somebody has copied it."""

DELETE_RETRY_INTERVAL_US = 3_600_000_000
"""Microseconds before a delete is tried again that did not do."""


@dataclass(frozen=True, slots=True)
class DuplicateVM:
    """A VM, the create that it has the mark of, and whose that was."""

    vm_id: str
    name: str
    operation_id: str
    project: str


OPERATION_CREATED_US = type_coerce(operations.c.created_at, BigInteger)
DELETE_ATTEMPTS = operations.alias("tried")
CREATED_ANOTHER_VM = operations.c.vm_id != vms.c.id
FINISHED_WITHOUT_VM = operations.c.vm_id.is_(None) & operations.c.finished_at.is_not(None)
TIMED_OUT_WITHOUT_VM = FINISHED_WITHOUT_VM & (
    operations.c.error["code"].as_string() == OperationTimeout.code
)
SELECT_TAGGED_VMS = (
    select(vms.c.id, vms.c.name, operations.c.id.label("operation_id"), operations.c.project)
    .join(operations, operations.c.id == vms.c.operation_id)
    .where(
        vms.c.deleted_at.is_(None),
        vms.c.project == operations.c.project,
        type_coerce(vms.c.created_at, BigInteger) < OPERATION_CREATED_US + MAX_TAG_AGE_US,
    )
)
SELECT_DUPLICATES = SELECT_TAGGED_VMS.where(
    or_(CREATED_ANOTHER_VM, FINISHED_WITHOUT_VM),
    ~exists().where(
        DELETE_ATTEMPTS.c.vm_id == vms.c.id,
        DELETE_ATTEMPTS.c.action == Action.DELETE,
        type_coerce(DELETE_ATTEMPTS.c.created_at, BigInteger) > db_now() - DELETE_RETRY_INTERVAL_US,
    ),
)
SELECT_LOST_CREATES = SELECT_TAGGED_VMS.where(TIMED_OUT_WITHOUT_VM).order_by(
    vms.c.created_at, vms.c.id
)
ADOPT_VM = (
    operations.update()
    .where(operations.c.id == bindparam("of"), operations.c.vm_id.is_(None))
    .values(vm_id=bindparam("made"), revision=operations.c.revision + 1)
)


def adopt(connection: Connection) -> None:
    """Give each create that timed out without an answer the VM that it has made: the first one.

    Its key is still bound to it: who repeats it is told of that VM from now on.
    """
    for row in connection.execute(SELECT_LOST_CREATES).all():
        # a later one of the same create finds that it has one
        connection.execute(ADOPT_VM, {"of": row.operation_id, "made": row.id})


def find_duplicates(connection: Connection) -> list[DuplicateVM]:
    """Return what is to be deleted."""
    rows = connection.execute(SELECT_DUPLICATES)
    return [DuplicateVM(row.id, row.name, row.operation_id, row.project) for row in rows]
