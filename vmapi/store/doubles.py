"""VMs that nobody asked for: made by a create that was sent twice, or came through too late."""

from dataclasses import dataclass

from sqlalchemy import BigInteger, Connection, exists, or_, select, type_coerce

from vmapi.models.lifecycle import Action
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
DOUBLES = (
    select(vms.c.id, vms.c.name, operations.c.id.label("operation_id"), operations.c.project)
    .join(operations, operations.c.id == vms.c.operation_id)
    .where(
        vms.c.deleted_at.is_(None),
        vms.c.project == operations.c.project,
        type_coerce(vms.c.created_at, BigInteger) < MADE + NEAR,
        or_(OF_ANOTHER, TOO_LATE),
        ~exists().where(
            TRIED.c.vm_id == vms.c.id,
            TRIED.c.action == Action.DELETE,
            type_coerce(TRIED.c.created_at, BigInteger) > now() - AGAIN,
        ),
    )
)


def found(connection: Connection) -> list[Double]:
    """Return what is to be deleted."""
    rows = connection.execute(DOUBLES)
    return [Double(row.id, row.name, row.operation_id, row.project) for row in rows]
