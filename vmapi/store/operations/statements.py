"""Reading operations. What is asked often is built once."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, literal, or_, select, tuple_

from vmapi.domain.operation import IdempotencyKey, Operation, OperationQuery
from vmapi.domain.pagination import Paging
from vmapi.domain.project import Scope
from vmapi.store.mappers import operation as rows
from vmapi.store.tables import HAS_NO_VM, IS_UNFINISHED, operations, vms

ROW = vms.c.id == bindparam("vm_id")
MARKS = HAS_NO_VM & (operations.c.id == select(vms.c.operation_id).where(ROW).scalar_subquery())
# a mark may be copied by hand
MADE = MARKS & (operations.c.project == select(vms.c.project).where(ROW).scalar_subquery())

EVERY = select(operations)
OLDEST_FIRST = (operations.c.created_at, operations.c.id)
NEWEST_FIRST = (operations.c.created_at.desc(), operations.c.id.desc())

OF_ID = EVERY.where(operations.c.id == bindparam("id")).order_by(*OLDEST_FIRST)
OF_KEY = EVERY.where(
    operations.c.idempotency_project == bindparam("of"),
    operations.c.idempotency_caller == bindparam("caller"),
    operations.c.idempotency_key == bindparam("key"),
).order_by(*OLDEST_FIRST)
UNFINISHED = EVERY.where(IS_UNFINISHED).order_by(*OLDEST_FIRST)
UNFINISHED_OF_VM = UNFINISHED.where(or_(operations.c.vm_id == bindparam("vm_id"), MADE))


def wanted(query: OperationQuery, scope: Scope) -> list[ColumnElement[bool]]:
    """Return the conditions that an operation of this project is asked for."""
    asked = {"vm_id": query.vm_id, "action": query.action, "status": query.status, "project": scope}
    if query.key is not None:
        asked |= {
            "idempotency_project": query.key.project,
            "idempotency_caller": query.key.caller,
            "idempotency_key": query.key.value,
        }
    return [operations.c[name] == value for name, value in asked.items() if value is not None]


def naming(key: IdempotencyKey) -> dict[str, str]:
    """Return what a statement about a key is given."""
    return {"of": key.project, "caller": key.caller, "key": key.value}


def found(connection: Connection, query: Select[Any], **given: Any) -> list[Operation]:
    """Return the operations that a query over `EVERY` finds, in its order."""
    return [rows.operation(row) for row in connection.execute(query, given)]


def page(clauses: Sequence[ColumnElement[bool]], paging: Paging) -> Select[Any]:
    """Return the query for a page of the operations for which all conditions hold, and one more."""
    ids = page_of_ids(clauses, paging)
    return EVERY.where(operations.c.id.in_(ids)).order_by(*NEWEST_FIRST)


def page_of_ids(clauses: Sequence[ColumnElement[bool]], paging: Paging) -> Select[Any]:
    """Return the query for their ids alone."""
    ids = select(operations.c.id).where(*clauses).order_by(*NEWEST_FIRST)
    if paging.after is not None:
        there = literal(paging.after.value, operations.c.created_at.type), paging.after.id
        ids = ids.where(tuple_(operations.c.created_at, operations.c.id) < tuple_(*there))
    return ids.limit(paging.page_size + 1).offset(paging.offset)
