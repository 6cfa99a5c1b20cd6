"""SELECT statements of audit entries."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, select

from vmapi.domain.audit import AuditQuery, StoredEntry
from vmapi.store.audit import chain
from vmapi.store.tables import audit_entries as entries


def build_filters(query: AuditQuery) -> list[ColumnElement[bool]]:
    """Return the WHERE conditions of a query."""
    values = asdict(query)
    after, before = values.pop("after"), values.pop("before")
    filters = [entries.c[name] == value for name, value in values.items() if value is not None]
    if after is not None:
        filters.append(entries.c.at > after)
    if before is not None:
        filters.append(entries.c.at < before)
    return filters


def select_page(query: AuditQuery, limit: int, before_id: int | None) -> Select[Any]:
    """Return the query of the newest matching entries with an id below `before_id`."""
    rows = select(entries).where(*build_filters(query))
    if before_id is not None:
        rows = rows.where(entries.c.id < before_id)
    return rows.order_by(entries.c.id.desc()).limit(limit)


def stored_entry_from_row(row: Row[Any]) -> StoredEntry:
    """Return the stored entry of a row."""
    return StoredEntry(row.id, row.chain_position, chain.entry_from_row(row))
