"""The audit trail: entries that are only ever added, and then closed into a chain.

An entry's MAC covers the one before it: a change, a removal or an insertion breaks the chain.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import structlog
from sqlalchemy import Connection, func, select

from vmapi.domain.audit import AuditEntry, AuditQuery, ChainLink, StoredEntry
from vmapi.store.audit import chain
from vmapi.store.audit import statements as trail
from vmapi.store.database import Database, advisory_lock
from vmapi.store.tables import audit_entries as entries

log = structlog.get_logger("vmapi.store")

AUDIT_BATCH = 500
"""Entries that are closed, or read, at a time."""

AUDIT_PURGE_BATCH = 2000
"""Entries that are removed in one transaction."""

INSERT_ENTRY = entries.insert()

CHAIN_LOCK = "audit"
"""Who changes the chain has this lock, lest two go on from one end of it."""

IS_UNCHAINED = entries.c.chain_position.is_(None)


def append(connection: Connection, entry: AuditEntry) -> None:
    """Write an entry, within the transaction of what it tells."""
    connection.execute(INSERT_ENTRY, asdict(entry))


@dataclass(frozen=True, slots=True)
class ChainVerification:
    """What became of the chain: how long the sound part is, its end, and what is wrong after it.

    `open` counts the entries that are not in the chain yet, `first` is where the chain begins.
    """

    first_position: int
    head: ChainLink
    pending: int
    error: str | None = None


class AuditRepository:
    """The trail of one database. Any method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, entry: AuditEntry) -> None:
        """Write an entry that tells of nothing else in the database."""
        with self._database.write() as connection:
            append(connection, entry)

    def chain_pending(self, key: str) -> int:
        """Take the oldest open entries into the chain; return how many."""
        with self._database.write() as connection:
            advisory_lock(connection, CHAIN_LOCK)
            query = select(entries).where(IS_UNCHAINED).order_by(entries.c.id).limit(AUDIT_BATCH)
            found = connection.execute(query).all()
            last = chain.find_head(connection) if found else ChainLink()
            for row in found:
                last = chain.extend(connection, key, row, last)
        return len(found)

    def has_pending(self) -> bool:
        """Tell whether there are entries that are not in the chain yet."""
        with self._database.read() as connection:
            return (
                connection.execute(select(entries.c.id).where(IS_UNCHAINED).limit(1)).first()
                is not None
            )

    def verify(self, key: str, anchor: ChainLink | None = None) -> ChainVerification:
        """Follow the chain from its beginning; `anchor` is an end of it that was noted earlier."""
        wrong = None
        with self._database.snapshot() as connection:
            start = last = chain.find_start(connection)
            held = anchor is None or anchor.position < start.position
            try:
                for last in chain.iter_verified(connection, key):
                    held = held or last == anchor
                if not held:
                    wrong = (
                        f"the chain does not hold position {anchor and anchor.position} as noted"
                    )
            except chain.ChainBroken as broken:
                wrong = str(broken)
            count = select(func.count()).where(IS_UNCHAINED)
            waiting = connection.execute(count).scalar_one()
        return ChainVerification(start.position + 1, last, waiting, wrong)

    def list_newest(
        self, query: AuditQuery, limit: int, before_id: int | None = None
    ) -> Sequence[StoredEntry]:
        """Return the newest entries that are asked for, of those numbered below another."""
        with self._database.read() as connection:
            found = connection.execute(trail.select_page(query, limit, before_id))
            return [trail.stored_entry_from_row(row) for row in found]

    def iterate(self, query: AuditQuery) -> Iterator[StoredEntry]:
        """Go through all entries that are asked for, the oldest first, without holding them all."""
        asked = (
            select(entries)
            .where(*trail.build_filters(query))
            .order_by(entries.c.id)
            .limit(AUDIT_BATCH)
        )
        last = 0
        while True:
            with self._database.read() as connection:
                found = connection.execute(asked.where(entries.c.id > last)).all()
            yield from map(trail.stored_entry_from_row, found)
            if len(found) < AUDIT_BATCH:
                return
            last = found[-1].id

    def purge(self, until: datetime, key: str | None) -> int:
        """Remove some of what was written before then; return how many entries.

        Without a key that is what is open, with one the oldest of what is chained: a checkpoint
        stays in its place. From where a chain is broken nothing is removed: that would hide it.
        """
        with self._database.write() as connection:
            advisory_lock(connection, CHAIN_LOCK)
            if key is None:
                some = (
                    select(entries.c.id)
                    .where(IS_UNCHAINED, entries.c.at < until)
                    .limit(AUDIT_PURGE_BATCH)
                )
                old = entries.delete().where(entries.c.id.in_(some))
                return connection.execute(old).rowcount
            first = chain.find_start(connection)
            stop = first.position + AUDIT_PURGE_BATCH + 1
            young = select(func.min(entries.c.chain_position)).where(
                entries.c.at >= until, entries.c.chain_position < stop
            )
            end = connection.execute(young).scalar()
            try:
                followed = chain.iter_verified(connection, key, stop if end is None else end)
                last = deque(followed, maxlen=1).pop()
            except chain.ChainBroken as broken:
                log.error("the audit trail is broken: nothing is removed", reason=str(broken))
                return 0
            return 0 if last == first else chain.truncate(connection, last, key)
