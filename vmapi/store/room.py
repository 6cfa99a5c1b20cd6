"""Making room for a new operation, and what follows when one is over; within one transaction."""

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import Connection, select

from vmapi.models.audit import AuditEntry
from vmapi.models.lifecycle import Action
from vmapi.models.operation import Operation, OperationStatus
from vmapi.store import audit, names, queries, rows
from vmapi.store.conflicts import under_way
from vmapi.store.database import lock
from vmapi.store.queries import IS_UNFINISHED
from vmapi.store.tables import operations

KEY_LIFE = timedelta(hours=24)
"""How long a key stays bound to its operation."""


def make(connection: Connection, operation: Operation) -> None:
    """Let a delete end what is under way, and let nothing begin beside one. Raises TaskInProgress.

    A key that has lived its time is freed. What else is in the way, unique indexes tell.
    """
    if operation.vm_id is not None:
        lock(connection, operation.vm_id)
    if operation.action is Action.DELETE:
        _supersede(connection, operation)
    else:
        _check_delete(connection, operation)
    if operation.key is not None:
        _forget_key(connection, operation)


def settle(connection: Connection, operation: Operation) -> None:
    """Settle its names and write its end to the audit trail, when an operation is over."""
    names.settle(connection, operation)
    audit.append(connection, AuditEntry.ended(operation))


def _supersede(connection: Connection, delete: Operation) -> None:
    others = IS_UNFINISHED & (operations.c.vm_id == delete.vm_id)
    others &= operations.c.action != Action.DELETE
    for other in queries.found(connection, others, locked=True):
        ended = replace(
            other,
            status=OperationStatus.SUPERSEDED,
            finished_at=delete.created_at,
            revision=other.revision + 1,
        )
        same = operations.c.id == other.id
        connection.execute(operations.update().where(same).values(rows.of_operation(ended)))
        settle(connection, ended)


def _check_delete(connection: Connection, operation: Operation) -> None:
    delete = IS_UNFINISHED & (operations.c.action == Action.DELETE)
    of_vm = operations.c.vm_id == operation.vm_id
    if connection.execute(select(operations.c.id).where(delete, of_vm)).first():
        raise under_way()


def _forget_key(connection: Connection, operation: Operation) -> None:
    old = operations.c.created_at <= operation.created_at - KEY_LIFE
    freed = dict.fromkeys(("idempotency_caller", "idempotency_key", "fingerprint"))
    connection.execute(operations.update().where(old, *queries.keyed(operation.key)).values(freed))
