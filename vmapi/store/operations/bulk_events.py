"""Append the event of a bulk operation when its last operation finishes.

The transaction that finishes an operation calls `append_if_finished` last, after the rows of the
VM. It takes the lock of the bulk operation: of two transactions that finish the last operations,
the second one sees the first.
"""

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, select

from vmapi.domain.bulk import BulkOperation
from vmapi.domain.operation import Operation
from vmapi.store import events
from vmapi.store.database import advisory_lock
from vmapi.store.mappers import bulk as bulk_mapper
from vmapi.store.mappers import event as event_mapper
from vmapi.store.operations import statements
from vmapi.store.tables import IS_UNFINISHED, bulk_operations, operations

IS_OF_BULK = operations.c.bulk_id == bindparam("bulk_id")
SELECT_BULK = select(bulk_operations).where(bulk_operations.c.id == bindparam("bulk_id"))
SELECT_OPERATIONS_OF_BULK = statements.SELECT_OPERATIONS.where(IS_OF_BULK)
SELECT_UNFINISHED_OF_BULK = select(operations.c.id).where(IS_OF_BULK, IS_UNFINISHED).limit(1)


def load(connection: Connection, bulk_id: str) -> BulkOperation | None:
    """Return a bulk operation with its operations; None for an unknown or purged one."""
    row = connection.execute(SELECT_BULK, {"bulk_id": bulk_id}).first()
    if row is None:
        return None
    parts = statements.fetch_all(connection, SELECT_OPERATIONS_OF_BULK, bulk_id=bulk_id)
    return bulk_mapper.from_row(row, {part.id: part for part in parts})


def is_finished(connection: Connection, bulk_id: str) -> bool:
    """Return whether all operations of a bulk operation are finished."""
    return connection.execute(SELECT_UNFINISHED_OF_BULK, {"bulk_id": bulk_id}).first() is None


def append_if_finished(connection: Connection, finished: Iterable[Operation]) -> None:
    """Append the events of the bulk operations that these operations have finished."""
    for bulk_id in sorted({operation.bulk_id for operation in finished if operation.bulk_id}):
        advisory_lock(connection, f"bulk {bulk_id}")
        if is_finished(connection, bulk_id) and (bulk := load(connection, bulk_id)):
            append(connection, bulk)


def append(connection: Connection, bulk: BulkOperation) -> None:
    """Append the event of a finished bulk operation."""
    events.append(connection, event_mapper.bulk_event_to_row(bulk.summarize(), bulk.project))
