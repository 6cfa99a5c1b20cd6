"""An audit trail to look at and to tamper with."""

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
    """Return an entry in which nothing is empty."""
    told = {
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
    return AuditEntry(at=at, **{**told, **more})


def append_entries(database: Database, *written: AuditEntry) -> None:
    """Add entries, as whoever begins or ends operations does."""
    with database.write() as connection:
        for each in written:
            append(connection, each)


def build_chain(database: Database, at: datetime, count: int) -> AuditRepository:
    """Return a trail with a sound chain; each entry is a day younger than the one before."""
    append_entries(
        database, *(build_entry(at + number * DAY, number) for number in range(1, count + 1))
    )
    trail = AuditRepository(database)
    trail.chain_pending(AUDIT_KEY)
    assert trail.verify(AUDIT_KEY).error is None
    return trail


def list_rows(database: Database) -> list[Any]:
    """Return the entries as they are kept, in the order in which they were written."""
    with database.read() as connection:
        return list(connection.execute(select(entries).order_by(entries.c.id)))


def chain_positions(database: Database) -> list[int | None]:
    """Return where the entries stand in the chain."""
    return [row.chain_position for row in list_rows(database)]


def list_outcomes(database: Database) -> list[tuple[str, str, str, str | None]]:
    """Return what the trail says: operation, action, outcome, code."""
    return [(row.operation_id, row.action, row.outcome, row.code) for row in list_rows(database)]


def count_checkpoints(database: Database) -> int:
    """Return how many checkpoints there are."""
    with database.read() as connection:
        return len(connection.execute(text("SELECT * FROM audit_checkpoints")).all())


def tamper(database: Database, *statements: str, **values: Any) -> None:
    """Change the tables, as who has no key but the database's password."""
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
