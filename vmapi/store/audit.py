"""The audit trail: entries that are only ever added, and then closed into a chain.

An entry's MAC covers the one before it: a change, a removal or an insertion breaks the chain.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select

from vmapi.models.audit import AuditEntry, Link
from vmapi.store.database import Database
from vmapi.store.tables import audit_checkpoints as checkpoints
from vmapi.store.tables import audit_entries as entries

BATCH = 500
"""Entries that are closed in one transaction."""

INSERT = entries.insert()
NAMES = tuple(field.name for field in fields(AuditEntry))


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

    def close_chain(self, key: str) -> int:
        """Take the oldest open entries into the chain; return how many."""
        with self._database.write() as connection:
            query = select(entries).where(entries.c.position.is_(None))
            found = connection.execute(query.order_by(entries.c.id).limit(BATCH)).all()
            last = _head(connection) if found else Link()
            for row in found:
                position = last.position + 1
                last = Link(position, _entry(row).mac(key, position, last.mac))
                there = (entries.c.id == row.id) & entries.c.position.is_(None)
                new = {"position": position, "mac": last.mac}
                connection.execute(entries.update().where(there).values(new))
        return len(found)

    def has_open(self) -> bool:
        """Tell whether there are entries that are not in the chain yet."""
        with self._database.read() as connection:
            query = select(entries.c.id).where(entries.c.position.is_(None)).limit(1)
            return connection.execute(query).first() is not None

    def verify(self, key: str, anchor: Link | None = None) -> Verdict:
        """Follow the chain from its beginning; `anchor` is an end of it that was noted earlier."""
        with self._database.read() as connection:
            start, wrong = _start(connection, key)
            last, told = start, anchor is None or anchor.position < start.position
            for row in _chained(connection) if wrong is None else ():
                expected = _entry(row).mac(key, last.position + 1, last.mac)
                if (row.position, row.mac) != (last.position + 1, expected):
                    wrong = f"entry {row.id} does not follow from position {last.position}"
                    break
                last = Link(row.position, row.mac)
                told = told or last == anchor
            if wrong is None and not told and last != anchor:
                wrong = f"the chain does not hold position {anchor and anchor.position} as noted"
            count = select(func.count()).where(entries.c.position.is_(None))
            waiting = connection.execute(count).scalar_one()
        return Verdict(start.position + 1, last, waiting, wrong)

    def forget(self, before: datetime, key: str | None) -> int:
        """Remove what was written before then, leaving a checkpoint; return how many entries."""
        with self._database.write() as connection:
            old: ColumnElement[bool] = (entries.c.at < before) & entries.c.position.is_(None)
            if key is not None:
                kept = select(func.min(entries.c.position)).where(entries.c.at >= before)
                end = connection.execute(kept).scalar() or _head(connection).position + 1
                old = entries.c.position < end
                _cut(connection, key, end - 1)
            return connection.execute(entries.delete().where(old)).rowcount


def _cut(connection: Connection, key: str, position: int) -> None:
    query = select(entries.c.position, entries.c.mac).where(entries.c.position == position)
    found = connection.execute(query).first()
    if found is not None:
        link = Link(found.position, found.mac)
        connection.execute(checkpoints.delete())
        connection.execute(checkpoints.insert().values(**asdict(link), seal=link.seal(key)))


def _head(connection: Connection) -> Link:
    newest = select(entries.c.position, entries.c.mac).where(entries.c.position.is_not(None))
    found = connection.execute(newest.order_by(entries.c.position.desc()).limit(1)).first()
    return Link(found.position, found.mac) if found else _checkpoint(connection)[0]


def _start(connection: Connection, key: str) -> tuple[Link, str | None]:
    link, seal = _checkpoint(connection)
    if link.position and seal != link.seal(key):
        return link, f"the checkpoint at position {link.position} is not sealed with this key"
    return link, None


def _checkpoint(connection: Connection) -> tuple[Link, str]:
    found = connection.execute(select(checkpoints)).first()
    return (Link(found.position, found.mac), found.seal) if found else (Link(), "")


def _chained(connection: Connection) -> Iterator[Row[Any]]:
    query = select(entries).where(entries.c.position.is_not(None)).order_by(entries.c.position)
    yield from connection.execution_options(yield_per=1000).execute(query)


def _entry(row: Row[Any]) -> AuditEntry:
    return AuditEntry(**{name: getattr(row, name) for name in NAMES})
