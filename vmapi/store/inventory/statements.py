"""Which rows of the inventory a list asks for, and in which order."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, literal, select, tuple_

from vmapi.domain.lifecycle import Status
from vmapi.domain.pagination import KeysetPosition, PageRequest
from vmapi.domain.project import Scope
from vmapi.domain.vm import VMQuery
from vmapi.store.inventory.cache import VERSION_COLUMNS
from vmapi.store.tables import vms

MAX_CODE_POINT = "\U0010ffff"
SURROGATES = range(0xD800, 0xE000)


def build_filters(
    query: VMQuery, deleted_after: datetime, scope: Scope
) -> list[ColumnElement[bool]]:
    """Return the conditions that a VM of this project is asked for.

    Deleted ones are only where they are named, and of those the ones deleted after a time.
    """
    of_status, of_name = _status_filters(query.statuses, deleted_after), _name_filters(query.name)
    return [*scope_filters(scope), *of_status, *of_name, *_other_filters(query)]


def scope_filters(scope: Scope) -> list[ColumnElement[bool]]:
    """Return the condition that a VM is of a project; none for every project."""
    return [] if scope is None else [vms.c.project == scope]


def select_page(
    sort: str, filters: Sequence[ColumnElement[bool]], request: PageRequest
) -> Select[Any]:
    """Return the query for a page of the VMs for which all conditions hold, and one VM more.

    It tells of each what it is sorted by, and whether it is as it was.
    """
    lines = select(*VERSION_COLUMNS, vms.c[sort.removeprefix("-")])
    lines = lines.where(*filters, *_position_filters(sort, request.after)).order_by(
        *_order_by(sort)
    )
    return lines.limit(request.page_size + 1).offset(request.offset)


def _order_by(sort: str) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Return the order of a list; equal ones are ordered by their id."""
    columns = (vms.c[sort.removeprefix("-")], vms.c.id)
    if sort.startswith("-"):
        return columns[0].desc(), columns[1].desc()
    return columns


def _position_filters(sort: str, place: KeysetPosition | None) -> list[ColumnElement[bool]]:
    """Return the condition that a VM comes after a place in a list; none for no place."""
    if place is None:
        return []
    column = vms.c[sort.removeprefix("-")]
    # compared as a pair, so that an index leads there
    here = tuple_(column, vms.c.id)
    there = tuple_(literal(place.value, column.type), place.id)
    return [here < there if sort.startswith("-") else here > there]


def position_of(sort: str, last: Row[Any], total: int) -> KeysetPosition:
    """Return the place of the last VM that is shown of a list."""
    return KeysetPosition(getattr(last, sort.removeprefix("-")), last.id, total)


def _status_filters(
    statuses: frozenset[Status], deleted_after: datetime
) -> Iterator[ColumnElement[bool]]:
    if statuses:
        yield vms.c.status.in_(statuses)
    if Status.DELETED not in statuses:
        yield vms.c.deleted_at.is_(None)
    else:
        yield vms.c.deleted_at.is_(None) | (vms.c.deleted_at > deleted_after)


def _name_filters(name: str | None) -> Iterator[ColumnElement[bool]]:
    if name is None or name == "*":
        return
    if not name.endswith("*"):
        yield vms.c.name == name
        return
    prefix = name[:-1]
    yield vms.c.name >= prefix
    if (end := _prefix_end(prefix)) is not None:
        yield vms.c.name < end


def _prefix_end(prefix: str) -> str | None:
    """Return the first text beyond all that begin so; None when there is none."""
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
