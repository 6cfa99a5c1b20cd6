"""The audit trail: entries are only added, and then linked into a hash chain.

Repositories append an entry in the transaction of its change. Maintenance links the entries into
the chain later, and purges them when their retention ends. An entry's MAC covers the MAC of the
entry before it: a changed, removed or inserted entry breaks the chain.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection, String, func, select

from vmapi.domain.audit import AuditEntry, AuditQuery, ChainLink, StoredEntry
from vmapi.domain.storable_text import UNSTORABLE_CHARACTERS, storable_text
from vmapi.store.audit import chain, statements
from vmapi.store.database import Database, advisory_lock
from vmapi.store.tables import audit_entries as entries

log = structlog.get_logger("vmapi.store")

AUDIT_BATCH = 500
"""Entries that one transaction links, or one query reads."""

AUDIT_PURGE_BATCH = 2000
"""Entries that one transaction removes."""

INSERT_ENTRY = entries.insert()

MAX_CHARS_BY_COLUMN = {
    column.name: column.type.length
    for column in entries.columns
    if isinstance(column.type, String) and column.type.length
}
"""SQLite does not hold the lengths of columns, PostgreSQL refuses a longer text."""

CHAIN_LOCK = "audit"
"""The advisory lock of the chain: two writers must not extend the same head."""

IS_UNCHAINED = entries.c.chain_position.is_(None)


def append(connection: Connection, *entries_of_change: AuditEntry) -> None:
    """Insert entries inside the transaction of their change; cut their texts to their columns."""
    if entries_of_change:
        connection.execute(INSERT_ENTRY, [_entry_values(entry) for entry in entries_of_change])


def _entry_values(entry: AuditEntry) -> dict[str, Any]:
    values = {name: getattr(entry, name) for name in chain.ENTRY_FIELDS}
    for name, max_chars in MAX_CHARS_BY_COLUMN.items():
        text = values.get(name)
        if text is not None and (len(text) > max_chars or UNSTORABLE_CHARACTERS.search(text)):
            values[name] = storable_text(text, max_chars)
    return values


@dataclass(frozen=True, slots=True)
class ChainVerification:
    """The result of a verification of the hash chain."""

    #: the position where the chain starts
    first_position: int
    #: the last link that verifies
    head: ChainLink
    #: the number of entries that are not in the chain yet
    pending: int
    #: the reason why the link after `head` does not verify; None for a sound chain
    error: str | None = None


class AuditRepository:
    """Stores the audit trail. Any method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, entry: AuditEntry) -> None:
        """Insert an entry that belongs to no other change in the database."""
        with self._database.write() as connection:
            append(connection, entry)

    def chain_pending(self, key: str) -> int:
        """Link the oldest unchained entries into the chain; return the number."""
        with self._database.write() as connection:
            advisory_lock(connection, CHAIN_LOCK)
            query = select(entries).where(IS_UNCHAINED).order_by(entries.c.id).limit(AUDIT_BATCH)
            rows = connection.execute(query).all()
            head = chain.find_head(connection) if rows else ChainLink()
            for row in rows:
                head = chain.extend(connection, key, row, head)
        return len(rows)

    def has_pending(self) -> bool:
        """Return whether any entry is not in the chain yet."""
        query = select(entries.c.id).where(IS_UNCHAINED).limit(1)
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def verify(self, keys: Sequence[str], anchor: ChainLink | None = None) -> ChainVerification:
        """Verify the chain from its start; `anchor` is a head that was noted earlier.

        An entry verifies with any of the keys.
        """
        error = None
        with self._database.snapshot() as connection:
            start = head = chain.find_start(connection)
            holds_anchor = anchor is None or anchor.position < start.position
            try:
                for head in chain.iter_verified(connection, keys):
                    holds_anchor = holds_anchor or head == anchor
                if not holds_anchor:
                    position = anchor and anchor.position
                    error = f"the chain does not hold position {position} as noted"
            except chain.ChainBroken as broken:
                error = str(broken)
            pending = connection.execute(select(func.count()).where(IS_UNCHAINED)).scalar_one()
        return ChainVerification(start.position + 1, head, pending, error)

    def list_newest(
        self, query: AuditQuery, limit: int, before_id: int | None = None
    ) -> Sequence[StoredEntry]:
        """Return the newest matching entries with an id below `before_id`."""
        with self._database.read() as connection:
            rows = connection.execute(statements.select_page(query, limit, before_id))
            return [statements.stored_entry_from_row(row) for row in rows]

    def iterate(self, query: AuditQuery) -> Iterator[StoredEntry]:
        """Yield all matching entries, oldest first; only one batch is in memory."""
        select_batch = select(entries).where(*statements.build_filters(query))
        select_batch = select_batch.order_by(entries.c.id).limit(AUDIT_BATCH)
        last_id = 0
        while True:
            with self._database.read() as connection:
                rows = connection.execute(select_batch.where(entries.c.id > last_id)).all()
            yield from map(statements.stored_entry_from_row, rows)
            if len(rows) < AUDIT_BATCH:
                return
            last_id = rows[-1].id

    def purge(self, until: datetime, keys: Sequence[str]) -> int:
        """Remove a batch of the entries before a time; return the number.

        With keys, the newest first, the oldest chained entries are replaced with a checkpoint.
        Without a key, only unchained entries are removed. A broken chain is left as it is: a purge
        would hide the break.
        """
        with self._database.write() as connection:
            advisory_lock(connection, CHAIN_LOCK)
            if not keys:
                return _purge_unchained(connection, until)
            return _purge_chained(connection, until, keys)


def _purge_unchained(connection: Connection, until: datetime) -> int:
    batch = select(entries.c.id).where(IS_UNCHAINED, entries.c.at < until)
    delete = entries.delete().where(entries.c.id.in_(batch.limit(AUDIT_PURGE_BATCH)))
    return connection.execute(delete).rowcount


def _purge_chained(connection: Connection, until: datetime, keys: Sequence[str]) -> int:
    start = chain.find_start(connection)
    end = start.position + AUDIT_PURGE_BATCH + 1
    first_retained = select(func.min(entries.c.chain_position)).where(
        entries.c.at >= until, entries.c.chain_position < end
    )
    retained_position = connection.execute(first_retained).scalar()
    try:
        links = chain.iter_verified(
            connection, keys, end if retained_position is None else retained_position
        )
        last = deque(links, maxlen=1).pop()
    except chain.ChainBroken as error:
        log.error("audit chain broken, nothing purged", reason=str(error))
        return 0
    return 0 if last == start else chain.truncate(connection, last, keys[0])
