"""Read pages of operations: of a query, and of each VM of a set."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, select

from vmapi.domain.access.project import Scope
from vmapi.domain.operation import Operation, OperationQuery
from vmapi.domain.pagination import KeysetPosition, Page, PageRequest
from vmapi.store.mappers import operation as mapper
from vmapi.store.operations import statements
from vmapi.store.tables import operations


def read_page(
    connection: Connection, query: OperationQuery, request: PageRequest, scope: Scope
) -> Page[Operation]:
    """Return a page of the matching operations, newest first."""
    filters = statements.build_filters(query, scope)
    if request.after:
        total = request.after.total
    else:
        count = select(func.count()).select_from(operations).where(*filters)
        total = connection.execute(count).scalar_one()
    rows = statements.fetch_all(connection, statements.select_page(filters, request))
    return _build_page(rows, total, request)


def read_pages_by_vm(
    connection: Connection, vm_ids: Sequence[str], page_size: int, scope: Scope
) -> Mapping[str, Page[Operation]]:
    """Return the first page of the operations of each VM, newest first, with one statement."""
    rows_by_vm: dict[str, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(select_pages_by_vm(vm_ids, page_size, scope)):
        rows_by_vm[row.vm_id].append(row)
    pages = {}
    for vm_id in vm_ids:
        rows = rows_by_vm[vm_id]
        total = rows[0].total if rows else 0
        request = PageRequest(1, page_size, query_params={"vm_id": [vm_id]})
        pages[vm_id] = _build_page([mapper.from_row(row) for row in rows], total, request)
    return pages


def select_pages_by_vm(vm_ids: Sequence[str], page_size: int, scope: Scope) -> Select[Any]:
    """Return the query of the operations of each page, with the total of each VM."""
    vm_id = operations.c.vm_id
    filters: list[ColumnElement[bool]] = [vm_id.in_(vm_ids)]
    if scope is not None:
        # SQLite would search by the index of the project, and read all of its operations
        filters.append(operations.c.project.concat("") == scope)
    place = func.row_number().over(partition_by=vm_id, order_by=statements.NEWEST_FIRST)
    total = func.count().over(partition_by=vm_id)
    ranked = (
        select(operations.c.id, place.label("place"), total.label("total"))
        .where(*filters)
        .subquery()
    )
    return (
        select(operations, ranked.c.total)
        .join(ranked, operations.c.id == ranked.c.id)
        # one more than the page, to detect a next page
        .where(ranked.c.place <= page_size + 1)
        .order_by(*statements.NEWEST_FIRST)
    )


def _build_page(rows: Sequence[Operation], total: int, request: PageRequest) -> Page[Operation]:
    items = rows[: request.page_size]
    has_more = len(rows) > len(items)
    position = KeysetPosition(items[-1].created_at, items[-1].id, total) if has_more else None
    return Page(items, total, request, position)
