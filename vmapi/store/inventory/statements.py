"""SELECT statements of VM lists: filters, order and keyset positions."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, literal, select, tuple_

from vmapi.domain.access.project import Scope
from vmapi.domain.lifecycle import Status
from vmapi.domain.pagination import KeysetPosition, PageRequest
from vmapi.domain.vm import VM, VMQuery
from vmapi.store.selector_conditions import build_selector_conditions
from vmapi.store.tables import vms

MAX_CODE_POINT = "\U0010ffff"
SURROGATES = range(0xD800, 0xE000)


def build_filters(
    query: VMQuery, deleted_after: datetime, scope: Scope
) -> list[ColumnElement[bool]]:
    """Return the WHERE conditions of a query within a project."""
    return [
        *scope_filters(scope),
        *_status_filters(query.statuses, deleted_after),
        *_name_filters(query.name),
        *_other_filters(query),
    ]


def scope_filters(scope: Scope) -> list[ColumnElement[bool]]:
    """Return the condition of a project; none for all projects."""
    return [] if scope is None else [vms.c.project == scope]


def select_page(
    sort: str, filters: Sequence[ColumnElement[bool]], request: PageRequest
) -> Select[Any]:
    """Return the query of a page and one VM more.

    The extra VM shows whether a next page exists.
    """
    rows = select(vms).where(*filters, *_position_filters(sort, request.after))
    return rows.order_by(*_order_by(sort)).limit(request.page_size + 1).offset(request.offset)


def position_of(sort: str, vm: VM, total: int) -> KeysetPosition:
    """Return the position of a VM in a list with a total."""
    return KeysetPosition(getattr(vm, sort.removeprefix("-")), vm.id, total)


def _sort_column(sort: str) -> ColumnElement[Any]:
    return vms.c[sort.removeprefix("-")]


def _order_by(sort: str) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    # the id makes the order total
    columns = (_sort_column(sort), vms.c.id)
    if sort.startswith("-"):
        return columns[0].desc(), columns[1].desc()
    return columns


def _position_filters(sort: str, position: KeysetPosition | None) -> list[ColumnElement[bool]]:
    if position is None:
        return []
    column = _sort_column(sort)
    # compared as a pair, so that an index finds the position
    row = tuple_(column, vms.c.id)
    last = tuple_(literal(position.value, column.type), position.id)
    return [row < last if sort.startswith("-") else row > last]


def _status_filters(
    statuses: frozenset[Status], deleted_after: datetime
) -> Iterator[ColumnElement[bool]]:
    if statuses:
        yield vms.c.status.in_(statuses)
    if Status.DELETED not in statuses:
        yield vms.c.deleted_at.is_(None)
    elif len(statuses) == 1:
        # one range of the index of deleted VMs
        yield vms.c.deleted_at > deleted_after
    else:
        yield vms.c.deleted_at.is_(None) | (vms.c.deleted_at > deleted_after)


def _name_filters(name: str | None) -> Iterator[ColumnElement[bool]]:
    if name is not None and not name.endswith("*"):
        yield vms.c.name == name
    elif name is not None and (names := name_range(name)) is not None:
        first, end = names
        yield vms.c.name >= first
        if end is not None:
            yield vms.c.name < end


def name_range(name: str) -> tuple[str, str | None] | None:
    """Return the first name that a filter matches, and the first after the matching ones.

    Returns None if every name matches. The second name may be None: no name comes after them.
    """
    if not name.endswith("*"):
        return name, f"{name}\0"
    return None if name == "*" else (name[:-1], _prefix_end(name[:-1]))


def _prefix_end(prefix: str) -> str | None:
    """Return the first text after all texts with a prefix; None without one."""
    stem = prefix.rstrip(MAX_CODE_POINT)
    if not stem:
        return None
    following = ord(stem[-1]) + 1
    if following in SURROGATES:
        following = SURROGATES.stop
    return stem[:-1] + chr(following)


def _other_filters(query: VMQuery) -> Iterator[ColumnElement[bool]]:
    if query.flavor is not None:
        yield vms.c.flavor == query.flavor
    if query.image is not None:
        yield vms.c.image == query.image
    if query.created_after is not None:
        yield vms.c.created_at > query.created_after
    if query.created_before is not None:
        yield vms.c.created_at < query.created_before
    if query.updated_after is not None:
        yield vms.c.updated_at > query.updated_after
    if query.selector is not None:
        yield from build_selector_conditions(vms.c.observed, query.selector)
