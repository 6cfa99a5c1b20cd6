"""Reading operations. What is asked often is built once."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, bindparam, literal, or_, select, tuple_

from vmapi.domain.caller import IdempotencyKey
from vmapi.domain.operation import Operation, OperationQuery
from vmapi.domain.pagination import PageRequest
from vmapi.domain.project import Scope
from vmapi.store.mappers import operation as rows
from vmapi.store.tables import HAS_NO_VM, IS_UNFINISHED, operations, vms

IS_VM = vms.c.id == bindparam("vm_id")
IS_TAGGED = HAS_NO_VM & (
    operations.c.id == select(vms.c.operation_id).where(IS_VM).scalar_subquery()
)
# a mark may be copied by hand
IS_CREATED_BY_TAG = IS_TAGGED & (
    operations.c.project == select(vms.c.project).where(IS_VM).scalar_subquery()
)

SELECT_OPERATIONS = select(operations)
OLDEST_FIRST = (operations.c.created_at, operations.c.id)
NEWEST_FIRST = (operations.c.created_at.desc(), operations.c.id.desc())

SELECT_BY_ID = SELECT_OPERATIONS.where(operations.c.id == bindparam("id")).order_by(*OLDEST_FIRST)
SELECT_BY_KEY = SELECT_OPERATIONS.where(
    operations.c.idempotency_project == bindparam("of"),
    operations.c.idempotency_caller == bindparam("caller"),
    operations.c.idempotency_key == bindparam("key"),
).order_by(*OLDEST_FIRST)
SELECT_UNFINISHED = SELECT_OPERATIONS.where(IS_UNFINISHED).order_by(*OLDEST_FIRST)
SELECT_UNFINISHED_OF_VM = SELECT_UNFINISHED.where(
    or_(operations.c.vm_id == bindparam("vm_id"), IS_CREATED_BY_TAG)
)


def build_filters(query: OperationQuery, scope: Scope) -> list[ColumnElement[bool]]:
    """Return the conditions that an operation of this project is asked for."""
    asked = {"vm_id": query.vm_id, "action": query.action, "status": query.status, "project": scope}
    if query.key is not None:
        asked |= {
            "idempotency_project": query.key.project,
            "idempotency_caller": query.key.caller,
            "idempotency_key": query.key.value,
        }
    return [operations.c[name] == value for name, value in asked.items() if value is not None]


def key_params(key: IdempotencyKey) -> dict[str, str]:
    """Return what a statement about a key is given."""
    return {"of": key.project, "caller": key.caller, "key": key.value}


def fetch_all(connection: Connection, query: Select[Any], **given: Any) -> list[Operation]:
    """Return the operations that a query over `EVERY` finds, in its order."""
    return [rows.from_row(row) for row in connection.execute(query, given)]


def select_page(clauses: Sequence[ColumnElement[bool]], request: PageRequest) -> Select[Any]:
    """Return the query for a page of the operations for which all conditions hold, and one more."""
    ids = select_page_ids(clauses, request)
    return SELECT_OPERATIONS.where(operations.c.id.in_(ids)).order_by(*NEWEST_FIRST)


def select_page_ids(clauses: Sequence[ColumnElement[bool]], request: PageRequest) -> Select[Any]:
    """Return the query for their ids alone."""
    ids = select(operations.c.id).where(*clauses).order_by(*NEWEST_FIRST)
    if request.after is not None:
        there = literal(request.after.value, operations.c.created_at.type), request.after.id
        ids = ids.where(tuple_(operations.c.created_at, operations.c.id) < tuple_(*there))
    return ids.limit(request.page_size + 1).offset(request.offset)
