"""The hash chain of the audit trail: a link covers an entry and the link before.

The audit repository calls these functions inside its transactions, under its lock. Positions count
from 1 without gaps. A checkpoint replaces entries that the retention period has removed; its
signature proves that a holder of the key removed them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, Row, select

from vmapi.domain.audit import AuditEntry, ChainLink
from vmapi.store.tables import audit_checkpoints as checkpoints
from vmapi.store.tables import audit_entries as entries

ENTRY_FIELDS = tuple(field.name for field in fields(AuditEntry))


class ChainBroken(Exception):
    """The chain does not verify; the message names the position."""


def extend(connection: Connection, key: str, row: Row[Any], head: ChainLink) -> ChainLink:
    """Append an unchained entry to the chain and return the new head."""
    position = head.position + 1
    link = ChainLink(position, entry_from_row(row).compute_mac(key, position, head.mac))
    update = entries.update().where(entries.c.id == row.id)
    connection.execute(update.values(chain_position=link.position, mac=link.mac))
    return link


def find_head(connection: Connection) -> ChainLink:
    """Return the last link of the chain."""
    query = select(entries.c.chain_position, entries.c.mac)
    query = query.where(entries.c.chain_position.is_not(None))
    row = connection.execute(query.order_by(entries.c.chain_position.desc()).limit(1)).first()
    return ChainLink(row.chain_position, row.mac) if row else find_start(connection)


def find_start(connection: Connection) -> ChainLink:
    """Return the link before the oldest entry: the checkpoint, or position 0."""
    return _read_checkpoint(connection)[0]


def iter_verified(
    connection: Connection, keys: Sequence[str], end: int | None = None
) -> Iterator[ChainLink]:
    """Yield the links in order, the start first, before the position `end`.

    Raises ChainBroken at the first link that does not follow from the link before with any key.
    """
    link, signature = _read_checkpoint(connection)
    if link.position and signature not in [link.sign(key) for key in keys]:
        raise ChainBroken(f"the checkpoint at position {link.position} is not signed with this key")
    yield link
    query = select(entries).where(entries.c.chain_position.is_not(None))
    if end is not None:
        query = query.where(entries.c.chain_position < end)
    query = query.order_by(entries.c.chain_position).execution_options(yield_per=1000)
    with connection.execute(query) as rows:
        for row in rows:
            entry, position = entry_from_row(row), link.position + 1
            macs = (entry.compute_mac(key, position, link.mac) for key in keys)
            if row.chain_position != position or row.mac not in macs:
                raise ChainBroken(f"entry {row.id} does not follow from position {link.position}")
            link = ChainLink(row.chain_position, row.mac)
            yield link


def truncate(connection: Connection, link: ChainLink, key: str) -> int:
    """Replace the entries up to a link with a checkpoint; return their number."""
    connection.execute(checkpoints.delete())
    connection.execute(
        checkpoints.insert().values(
            chain_position=link.position, mac=link.mac, signature=link.sign(key)
        )
    )
    expired = entries.delete().where(entries.c.chain_position <= link.position)
    return connection.execute(expired).rowcount


def entry_from_row(row: Row[Any]) -> AuditEntry:
    """Return the entry of a row."""
    return AuditEntry(**{name: getattr(row, name) for name in ENTRY_FIELDS})


def _read_checkpoint(connection: Connection) -> tuple[ChainLink, str]:
    row = connection.execute(select(checkpoints)).first()
    return (ChainLink(row.chain_position, row.mac), row.signature) if row else (ChainLink(), "")
