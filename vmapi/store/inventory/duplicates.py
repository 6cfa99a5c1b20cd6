"""VMs that nobody asked for: made by a create that was sent twice, or came through too late."""

from dataclasses import dataclass

from sqlalchemy import BigInteger, Connection, bindparam, exists, or_, select, type_coerce

from vmapi.domain.lifecycle import Action
from vmapi.errors import OperationTimeout
from vmapi.store.database import now
from vmapi.store.tables import operations, vms

NEAR = 3_600_000_000
"""Microseconds: what was made later has the mark of a create because somebody has copied it."""

AGAIN = 3_600_000_000
"""Microseconds before a delete is tried again that did not do."""


@dataclass(frozen=True, slots=True)
class Double:
    """A VM, the create that it has the mark of, and whose that was."""

    vm_id: str
    name: str
    operation_id: str
    project: str


MADE = type_coerce(operations.c.created_at, BigInteger)
TRIED = operations.alias("tried")
OF_ANOTHER = operations.c.vm_id != vms.c.id
TOO_LATE = operations.c.vm_id.is_(None) & operations.c.finished_at.is_not(None)
TIMED_OUT = TOO_LATE & (operations.c.error["code"].as_string() == OperationTimeout.code)
CREATED = (
    select(vms.c.id, vms.c.name, operations.c.id.label("operation_id"), operations.c.project)
    .join(operations, operations.c.id == vms.c.operation_id)
    .where(
        vms.c.deleted_at.is_(None),
        vms.c.project == operations.c.project,
        type_coerce(vms.c.created_at, BigInteger) < MADE + NEAR,
    )
)
DOUBLES = CREATED.where(
    or_(OF_ANOTHER, TOO_LATE),
    ~exists().where(
        TRIED.c.vm_id == vms.c.id,
        TRIED.c.action == Action.DELETE,
        type_coerce(TRIED.c.created_at, BigInteger) > now() - AGAIN,
    ),
)
LOST = CREATED.where(TIMED_OUT).order_by(vms.c.created_at, vms.c.id)
ADOPT = (
    operations.update()
    .where(operations.c.id == bindparam("of"), operations.c.vm_id.is_(None))
    .values(vm_id=bindparam("made"), revision=operations.c.revision + 1)
)


def adopt(connection: Connection) -> None:
    """Give each create that timed out without an answer the VM that it has made: the first one.

    Its key is still bound to it: who repeats it is told of that VM from now on.
    """
    for row in connection.execute(LOST).all():
        # a later one of the same create finds that it has one
        connection.execute(ADOPT, {"of": row.operation_id, "made": row.id})


def found(connection: Connection) -> list[Double]:
    """Return what is to be deleted."""
    rows = connection.execute(DOUBLES)
    return [Double(row.id, row.name, row.operation_id, row.project) for row in rows]
