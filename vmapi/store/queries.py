"""Reading operations, each with its steps."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, select

from vmapi.models.operation import IdempotencyKey, Operation
from vmapi.models.page import Paging
from vmapi.store import rows
from vmapi.store.tables import operations, steps

IS_UNFINISHED = operations.c.finished_at.is_(None)


def keyed(key: IdempotencyKey | None) -> list[ColumnElement[bool]]:
    """Return the condition that an operation is bound to a key; none for no key."""
    if key is None:
        return []
    return [
        operations.c.idempotency_caller == key.caller,
        operations.c.idempotency_key == key.value,
    ]


def found(
    connection: Connection,
    *clauses: ColumnElement[bool],
    order: Sequence[ColumnElement[Any]] = (),
    paging: Paging | None = None,
    locked: bool = False,
) -> list[Operation]:
    """Return the operations for which all conditions hold, or a page of them.

    `locked` keeps others from changing them until the transaction ends.
    """
    query = select(operations).where(*clauses).order_by(*order)
    if locked:
        query = query.with_for_update()
    if paging is not None:
        query = query.limit(paging.page_size).offset((paging.page - 1) * paging.page_size)
    heads = connection.execute(query).all()
    plans: dict[str, list[Row[Any]]] = defaultdict(list)
    theirs = steps.c.operation_id.in_([row.id for row in heads])
    for step in connection.execute(select(steps).where(theirs).order_by(steps.c.position)):
        plans[step.operation_id].append(step)
    return [rows.operation(row, plans[row.id]) for row in heads]
