"""Finding entries of the audit trail."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, select

from vmapi.domain.audit import AuditQuery, StoredEntry
from vmapi.store.audit import chain
from vmapi.store.tables import audit_entries as entries


def build_filters(query: AuditQuery) -> list[ColumnElement[bool]]:
    """Return the conditions for what is asked for."""
    members = asdict(query)
    after, before = members.pop("after"), members.pop("before")
    clauses = [entries.c[name] == value for name, value in members.items() if value is not None]
    if after is not None:
        clauses.append(entries.c.at > after)
    if before is not None:
        clauses.append(entries.c.at < before)
    return clauses


def select_page(query: AuditQuery, limit: int, before_id: int | None) -> Select[Any]:
    """Return what finds the newest entries that are asked for, of those numbered below another."""
    found = select(entries).where(*build_filters(query))
    if before_id is not None:
        found = found.where(entries.c.id < before_id)
    return found.order_by(entries.c.id.desc()).limit(limit)


def stored_entry_from_row(row: Row[Any]) -> StoredEntry:
    """Return the entry of a row, and its place."""
    return StoredEntry(row.id, row.chain_position, chain.entry_from_row(row))
