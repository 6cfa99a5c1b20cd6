"""The audit trail: entries that are only ever added, and then closed into a chain.

An entry's MAC covers the one before it: a change, a removal or an insertion breaks the chain.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import structlog
from sqlalchemy import Connection, func, select

from vmapi.domain.audit import AuditEntry, AuditQuery, Kept, Link
from vmapi.store.audit import chain
from vmapi.store.audit import statements as trail
from vmapi.store.audit_tables import audit_entries as entries
from vmapi.store.database import Database, lock

log = structlog.get_logger("vmapi.store")

BATCH = 500
"""Entries that are closed, or read, at a time."""

FORGOTTEN = 2000
"""Entries that are removed in one transaction."""

INSERT = entries.insert()

LOCK = "audit"
"""Who changes the chain has this lock, lest two go on from one end of it."""

IS_OPEN = entries.c.position.is_(None)


def append(connection: Connection, entry: AuditEntry) -> None:
    """Write an entry, within the transaction of what it tells."""
    connection.execute(INSERT, asdict(entry))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the chain: how long the sound part is, its end, and what is wrong after it.

    `open` counts the entries that are not in the chain yet, `first` is where the chain begins.
    """

    first: int
    head: Link
    open: int
    wrong: str | None = None


class AuditTrail:
    """The trail of one database. Any method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, entry: AuditEntry) -> None:
        """Write an entry that tells of nothing else in the database."""
        with self._database.write() as connection:
            append(connection, entry)

    def close_chain(self, key: str) -> int:
        """Take the oldest open entries into the chain; return how many."""
        with self._database.write() as connection:
            lock(connection, LOCK)
            query = select(entries).where(IS_OPEN).order_by(entries.c.id).limit(BATCH)
            found = connection.execute(query).all()
            last = chain.head(connection) if found else Link()
            for row in found:
                last = chain.extend(connection, key, row, last)
        return len(found)

    def has_open(self) -> bool:
        """Tell whether there are entries that are not in the chain yet."""
        with self._database.read() as connection:
            return (
                connection.execute(select(entries.c.id).where(IS_OPEN).limit(1)).first() is not None
            )

    def verify(self, key: str, anchor: Link | None = None) -> Verdict:
        """Follow the chain from its beginning; `anchor` is an end of it that was noted earlier."""
        wrong = None
        with self._database.snapshot() as connection:
            start = last = chain.beginning(connection)
            held = anchor is None or anchor.position < start.position
            try:
                for last in chain.follow(connection, key):
                    held = held or last == anchor
                if not held:
                    wrong = (
                        f"the chain does not hold position {anchor and anchor.position} as noted"
                    )
            except chain.Broken as broken:
                wrong = str(broken)
            count = select(func.count()).where(IS_OPEN)
            waiting = connection.execute(count).scalar_one()
        return Verdict(start.position + 1, last, waiting, wrong)

    def newest(self, query: AuditQuery, limit: int, below: int | None = None) -> Sequence[Kept]:
        """Return the newest entries that are asked for, of those numbered below another."""
        with self._database.read() as connection:
            found = connection.execute(trail.page(query, limit, below))
            return [trail.kept(row) for row in found]

    def walk(self, query: AuditQuery) -> Iterator[Kept]:
        """Go through all entries that are asked for, the oldest first, without holding them all."""
        asked = select(entries).where(*trail.asked(query)).order_by(entries.c.id).limit(BATCH)
        last = 0
        while True:
            with self._database.read() as connection:
                found = connection.execute(asked.where(entries.c.id > last)).all()
            yield from map(trail.kept, found)
            if len(found) < BATCH:
                return
            last = found[-1].id

    def forget(self, before: datetime, key: str | None) -> int:
        """Remove some of what was written before then; return how many entries.

        Without a key that is what is open, with one the oldest of what is chained: a checkpoint
        stays in its place. From where a chain is broken nothing is removed: that would hide it.
        """
        with self._database.write() as connection:
            lock(connection, LOCK)
            if key is None:
                some = select(entries.c.id).where(IS_OPEN, entries.c.at < before).limit(FORGOTTEN)
                old = entries.delete().where(entries.c.id.in_(some))
                return connection.execute(old).rowcount
            first = chain.beginning(connection)
            stop = first.position + FORGOTTEN + 1
            young = select(func.min(entries.c.position)).where(
                entries.c.at >= before, entries.c.position < stop
            )
            end = connection.execute(young).scalar()
            try:
                followed = chain.follow(connection, key, stop if end is None else end)
                last = deque(followed, maxlen=1).pop()
            except chain.Broken as broken:
                log.error("the audit trail is broken: nothing is removed", reason=str(broken))
                return 0
            return 0 if last == first else chain.begin_after(connection, last, key)
