"""The chain of the audit trail: each link covers an entry and the link before it."""

from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import Connection, Row, select

from vmapi.domain.audit import AuditEntry, Link
from vmapi.store.audit_tables import audit_checkpoints as checkpoints
from vmapi.store.audit_tables import audit_entries as entries

NAMES = tuple(field.name for field in fields(AuditEntry))


class Broken(Exception):
    """The chain is not as it was closed; the message says where."""


def extend(connection: Connection, key: str, row: Row[Any], last: Link) -> Link:
    """Take an open entry into the chain; return its new end."""
    link = Link(last.position + 1, entry(row).mac(key, last.position + 1, last.mac))
    connection.execute(entries.update().where(entries.c.id == row.id).values(asdict(link)))
    return link


def head(connection: Connection) -> Link:
    """Return the end of the chain."""
    newest = select(entries.c.position, entries.c.mac).where(entries.c.position.is_not(None))
    found = connection.execute(newest.order_by(entries.c.position.desc()).limit(1)).first()
    return Link(found.position, found.mac) if found else beginning(connection)


def beginning(connection: Connection) -> Link:
    """Return what the oldest entry follows from: a checkpoint, or nothing."""
    return _checkpoint(connection)[0]


def follow(connection: Connection, key: str, end: int | None = None) -> Iterator[Link]:
    """Walk from the beginning to the end, or to what is before a position.

    Raises Broken where a link does not follow from the one before.
    """
    last, seal = _checkpoint(connection)
    if last.position and seal != last.seal(key):
        raise Broken(f"the checkpoint at position {last.position} is not sealed with this key")
    yield last
    query = select(entries).where(entries.c.position.is_not(None)).order_by(entries.c.position)
    if end is not None:
        query = query.where(entries.c.position < end)
    with connection.execute(query.execution_options(yield_per=1000)) as found:
        for row in found:
            mac = entry(row).mac(key, last.position + 1, last.mac)
            if (row.position, row.mac) != (last.position + 1, mac):
                raise Broken(f"entry {row.id} does not follow from position {last.position}")
            last = Link(row.position, row.mac)
            yield last


def begin_after(connection: Connection, link: Link, key: str) -> int:
    """Remove what is up to a link, and leave a checkpoint in its place; return how many entries."""
    connection.execute(checkpoints.delete())
    connection.execute(checkpoints.insert().values(**asdict(link), seal=link.seal(key)))
    gone = entries.delete().where(entries.c.position <= link.position)
    return connection.execute(gone).rowcount


def entry(row: Row[Any]) -> AuditEntry:
    """Return the entry of a row."""
    return AuditEntry(**{name: getattr(row, name) for name in NAMES})


def _checkpoint(connection: Connection) -> tuple[Link, str]:
    found = connection.execute(select(checkpoints)).first()
    return (Link(found.position, found.mac), found.seal) if found else (Link(), "")
