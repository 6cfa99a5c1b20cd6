"""The chain of the audit trail: each link covers an entry and the link before it."""

from collections.abc import Iterator
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import Connection, Row, select

from vmapi.domain.audit import AuditEntry, ChainLink
from vmapi.store.audit_tables import audit_checkpoints as checkpoints
from vmapi.store.audit_tables import audit_entries as entries

ENTRY_FIELDS = tuple(field.name for field in fields(AuditEntry))


class ChainBroken(Exception):
    """The chain is not as it was closed; the message says where."""


def extend(connection: Connection, key: str, row: Row[Any], last: ChainLink) -> ChainLink:
    """Take an open entry into the chain; return its new end."""
    link = ChainLink(
        last.position + 1, entry_from_row(row).compute_mac(key, last.position + 1, last.mac)
    )
    connection.execute(entries.update().where(entries.c.id == row.id).values(asdict(link)))
    return link


def find_head(connection: Connection) -> ChainLink:
    """Return the end of the chain."""
    newest = select(entries.c.position, entries.c.mac).where(entries.c.position.is_not(None))
    found = connection.execute(newest.order_by(entries.c.position.desc()).limit(1)).first()
    return ChainLink(found.position, found.mac) if found else find_start(connection)


def find_start(connection: Connection) -> ChainLink:
    """Return what the oldest entry follows from: a checkpoint, or nothing."""
    return _read_checkpoint(connection)[0]


def iter_verified(connection: Connection, key: str, end: int | None = None) -> Iterator[ChainLink]:
    """Walk from the beginning to the end, or to what is before a position.

    Raises Broken where a link does not follow from the one before.
    """
    last, seal = _read_checkpoint(connection)
    if last.position and seal != last.sign(key):
        raise ChainBroken(f"the checkpoint at position {last.position} is not sealed with this key")
    yield last
    query = select(entries).where(entries.c.position.is_not(None)).order_by(entries.c.position)
    if end is not None:
        query = query.where(entries.c.position < end)
    with connection.execute(query.execution_options(yield_per=1000)) as found:
        for row in found:
            mac = entry_from_row(row).compute_mac(key, last.position + 1, last.mac)
            if (row.position, row.mac) != (last.position + 1, mac):
                raise ChainBroken(f"entry {row.id} does not follow from position {last.position}")
            last = ChainLink(row.position, row.mac)
            yield last


def truncate(connection: Connection, link: ChainLink, key: str) -> int:
    """Remove what is up to a link, and leave a checkpoint in its place; return how many entries."""
    connection.execute(checkpoints.delete())
    connection.execute(checkpoints.insert().values(**asdict(link), seal=link.sign(key)))
    gone = entries.delete().where(entries.c.position <= link.position)
    return connection.execute(gone).rowcount


def entry_from_row(row: Row[Any]) -> AuditEntry:
    """Return the entry of a row."""
    return AuditEntry(**{name: getattr(row, name) for name in ENTRY_FIELDS})


def _read_checkpoint(connection: Connection) -> tuple[ChainLink, str]:
    found = connection.execute(select(checkpoints)).first()
    return (ChainLink(found.position, found.mac), found.seal) if found else (ChainLink(), "")
