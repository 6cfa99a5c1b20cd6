"""Statements and conditions of operations. Frequent ones are built once, at import."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    Update,
    and_,
    bindparam,
    literal,
    or_,
    select,
    tuple_,
)

from vmapi.domain.access.caller import IdempotencyKey
from vmapi.domain.access.project import Scope
from vmapi.domain.operation import Operation, OperationQuery
from vmapi.domain.pagination import PageRequest
from vmapi.store.mappers import operation as mapper
from vmapi.store.tables import (
    HAS_NO_VM,
    IDEMPOTENCY_COLUMNS,
    IS_UNFINISHED,
    bulk_operations,
    operations,
    vms,
)

IS_VM = vms.c.id == bindparam("vm_id")
IS_TAGGED = HAS_NO_VM & (
    operations.c.id == select(vms.c.operation_id).where(IS_VM).scalar_subquery()
)
# users can copy a tag to another VM: the project must match too
IS_CREATED_BY_TAG = IS_TAGGED & (
    operations.c.project == select(vms.c.project).where(IS_VM).scalar_subquery()
)


def has_key(table: Table) -> ColumnElement[bool]:
    """Return the condition that a row has the idempotency key of `key_params`."""
    return and_(
        table.c.idempotency_project == bindparam("key_project"),
        table.c.idempotency_caller == bindparam("key_caller"),
        table.c.idempotency_key == bindparam("key_value"),
    )


def release_keys(table: Table) -> Update:
    """Return the statement that removes idempotency keys; the caller adds the condition."""
    return table.update().values({**dict.fromkeys(IDEMPOTENCY_COLUMNS), "fingerprint": None})


OLDEST_FIRST = (operations.c.created_at, operations.c.id)
NEWEST_FIRST = (operations.c.created_at.desc(), operations.c.id.desc())

SELECT_OPERATIONS = select(operations)
SELECT_BY_ID = SELECT_OPERATIONS.where(operations.c.id == bindparam("id")).order_by(*OLDEST_FIRST)
ROW_OF_KEY = (
    select(literal(1))
    .subquery()
    .outerjoin(operations, has_key(operations))
    .outerjoin(bulk_operations, has_key(bulk_operations))
)
# one row: the operation of a key, and the time of the bulk operation of the same key
SELECT_BY_KEY = select(
    operations, bulk_operations.c.created_at.label("bulk_created_at")
).select_from(ROW_OF_KEY)
# one row: the bulk operation of a key, and the time of the operation of the same key
SELECT_BULK_BY_KEY = select(
    bulk_operations.c.id,
    bulk_operations.c.created_at,
    operations.c.created_at.label("operation_created_at"),
).select_from(ROW_OF_KEY)
SELECT_STEPS = select(operations.c.steps).where(operations.c.vm_id == bindparam("vm_id"))
SELECT_UNFINISHED = SELECT_OPERATIONS.where(IS_UNFINISHED).order_by(*OLDEST_FIRST)
SELECT_UNFINISHED_OF_VM = SELECT_UNFINISHED.where(
    or_(operations.c.vm_id == bindparam("vm_id"), IS_CREATED_BY_TAG)
)


def build_filters(query: OperationQuery, scope: Scope) -> list[ColumnElement[bool]]:
    """Return the WHERE conditions of a query within a project."""
    values = {
        "vm_id": query.vm_id,
        "action": query.action,
        "status": query.status,
        "request_id": query.request_id,
    }
    if query.key is not None:
        values |= {
            "idempotency_project": query.key.project,
            "idempotency_caller": query.key.caller,
        }
    filters = [operations.c[name] == value for name, value in values.items() if value is not None]
    if query.key is not None:
        filters.append(operations.c.idempotency_key.in_(query.key.stored_values))
    if scope is None:
        return filters
    project: ColumnElement[str] = operations.c.project
    if query.request_id is not None:
        # SQLite would search by the index of the project, and read all of its operations
        project = project.concat("")
    return [*filters, project == scope]


def key_params(key: IdempotencyKey) -> dict[str, str]:
    """Return the parameters of `has_key`."""
    return {"key_project": key.project, "key_caller": key.caller, "key_value": key.value}


def fetch_all(connection: Connection, query: Select[Any], **params: Any) -> list[Operation]:
    """Return the operations of a query over `SELECT_OPERATIONS`, in its order."""
    return [mapper.from_row(row) for row in connection.execute(query, params)]


def select_page(filters: Sequence[ColumnElement[bool]], request: PageRequest) -> Select[Any]:
    """Return the query of a page and one operation more, to detect a next page."""
    ids = select_page_ids(filters, request)
    return SELECT_OPERATIONS.where(operations.c.id.in_(ids)).order_by(*NEWEST_FIRST)


def select_page_ids(filters: Sequence[ColumnElement[bool]], request: PageRequest) -> Select[Any]:
    """Return the query of the ids of `select_page`: an index alone answers it."""
    ids = select(operations.c.id).where(*filters).order_by(*NEWEST_FIRST)
    if request.after is not None:
        created_at = literal(request.after.value, operations.c.created_at.type)
        position = tuple_(created_at, request.after.id)
        ids = ids.where(tuple_(operations.c.created_at, operations.c.id) < position)
    return ids.limit(request.page_size + 1).offset(request.offset)
