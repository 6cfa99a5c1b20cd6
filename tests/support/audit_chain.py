"""Entries of the audit trail, their hash chain, and changes behind the repository's back."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, text

from vmapi.domain.audit import AuditEntry, ChainLink
from vmapi.store.audit.repository import AuditRepository, append
from vmapi.store.database import Database
from vmapi.store.tables import audit_entries as entries

AUDIT_KEY = "k" * 32
OTHER_AUDIT_KEY = "o" * 32
DAY = timedelta(days=1)


def build_entry(at: datetime, number: int, **more: Any) -> AuditEntry:
    """Return an entry with a value in every field."""
    fields = {
        "user": "anonymous",
        "project": "default",
        "address": "192.0.2.1",
        "action": "stop",
        "vm_id": "vm-1",
        "operation_id": f"op-{number}",
        "request_id": f"r-{number}",
        "outcome": "failed",
        "code": "backend_lost",
    }
    return AuditEntry(at=at, **{**fields, **more})


def append_entries(database: Database, *added: AuditEntry) -> None:
    """Append entries in one transaction, as the repository of operations does."""
    with database.write() as connection:
        for entry in added:
            append(connection, entry)


def build_chain(database: Database, at: datetime, count: int) -> AuditRepository:
    """Return a trail with a valid chain of entries that are a day apart."""
    append_entries(
        database, *(build_entry(at + number * DAY, number) for number in range(1, count + 1))
    )
    trail = AuditRepository(database)
    trail.chain_pending(AUDIT_KEY)
    assert trail.verify([AUDIT_KEY]).error is None
    return trail


def list_rows(database: Database) -> list[Any]:
    """Return the rows of the entries, oldest first."""
    with database.read() as connection:
        return list(connection.execute(select(entries).order_by(entries.c.id)))


def chain_positions(database: Database) -> list[int | None]:
    """Return the positions of the entries in the chain."""
    return [row.chain_position for row in list_rows(database)]


def list_outcomes(database: Database) -> list[tuple[str, str, str, str | None]]:
    """Return operation, action, outcome and code of each entry."""
    return [(row.operation_id, row.action, row.outcome, row.code) for row in list_rows(database)]


def count_checkpoints(database: Database) -> int:
    """Return the number of checkpoints."""
    with database.read() as connection:
        return len(connection.execute(text("SELECT * FROM audit_checkpoints")).all())


def tamper(database: Database, *statements: str, **values: Any) -> None:
    """Change the tables without the audit key."""
    with database.write() as connection:
        for statement in statements:
            assert connection.execute(text(statement), values if ":" in statement else {}).rowcount


def chain_head(database: Database) -> ChainLink:
    """Return the end of the chain."""
    last = max(
        (row for row in list_rows(database) if row.chain_position),
        key=lambda row: row.chain_position,
    )
    return ChainLink(last.chain_position, last.mac)
