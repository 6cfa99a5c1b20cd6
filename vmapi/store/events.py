"""The event log: events are written with their change and numbered when committed.

A sequence number that is assigned inside a transaction is visible only after its commit. A reader
could pass it over in the meantime. Therefore events are inserted without one. Any process that
reads assigns the numbers of the committed events first, under one lock.

Invariant: a reader that has seen sequence N never finds a smaller sequence later.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, func, select

from vmapi.domain.event import EVENT_BATCH, VM_EVENT_KINDS, Event, EventQuery
from vmapi.domain.timestamps import MICROSECOND
from vmapi.store.clock import db_now, db_time
from vmapi.store.database import Database, advisory_lock
from vmapi.store.mappers import event as mapper
from vmapi.store.selector_conditions import build_selector_conditions
from vmapi.store.tables import events

SEQUENCE_BATCH = 5000
"""Events that one transaction numbers or purges."""

SEQUENCE_LOCK = "events"
"""The advisory lock of the process that assigns sequence numbers."""

INSERT_EVENT = events.insert().values(at=db_now())
IS_UNSEQUENCED = events.c.sequence.is_(None)
SELECT_UNSEQUENCED = (
    select(events.c.id, func.row_number().over(order_by=events.c.id).label("rank"))
    .where(IS_UNSEQUENCED)
    .order_by(events.c.id)
    .limit(bindparam("batch_size"))
    .subquery()
)
ASSIGN_SEQUENCES = (
    events.update()
    .where(events.c.id == SELECT_UNSEQUENCED.c.id)
    .values(sequence=bindparam("last") + SELECT_UNSEQUENCED.c.rank)
)
SELECT_NEWEST_SEQUENCE = select(func.coalesce(func.max(events.c.sequence), 0))


def append(connection: Connection, *rows: dict[str, Any]) -> None:
    """Insert events in order, inside the transaction of their change."""
    if rows:
        connection.execute(INSERT_EVENT, list(rows))


class EventLog:
    """The events of one database. Any method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def assign_sequences(self) -> int:
        """Assign numbers to all committed events; return the newest, 0 for an empty log.

        Sequences are times in microseconds: a database that was recreated or restored never
        assigns one again that a client has seen.
        """
        # stop at an incomplete batch: writers may add events without end
        while self._has_unsequenced() and self._assign_batch() == SEQUENCE_BATCH:
            pass
        with self._database.read() as connection:
            return int(connection.execute(SELECT_NEWEST_SEQUENCE).scalar_one())

    def contains(self, sequence: int) -> bool:
        """Return whether the log still has the event of a sequence."""
        query = select(events.c.id).where(events.c.sequence == sequence)
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def read_after(self, sequence: int) -> Sequence[Event]:
        """Return the next events after a sequence, at most `EVENT_BATCH`."""
        return self._read(events.c.sequence > sequence, limit=EVENT_BATCH)

    def read_range(self, after: int, last: int, query: EventQuery, limit: int) -> Sequence[Event]:
        """Return the next matching events after a sequence up to and including the last."""
        is_in_range = (events.c.sequence > after, events.c.sequence <= last)
        return self._read(*is_in_range, *_build_filters(query), limit=limit)

    def purge(self, max_age: timedelta) -> int:
        """Delete a batch of older events, but never the newest; return the number."""
        is_old = events.c.sequence < db_now() - max_age // MICROSECOND
        newest = SELECT_NEWEST_SEQUENCE.scalar_subquery()
        batch = select(events.c.id).where(is_old, events.c.sequence < newest)
        batch = batch.order_by(events.c.sequence).limit(SEQUENCE_BATCH)
        with self._database.write() as connection:
            return connection.execute(events.delete().where(events.c.id.in_(batch))).rowcount

    def _assign_batch(self) -> int:
        with self._database.write() as connection:
            advisory_lock(connection, SEQUENCE_LOCK)
            newest = connection.execute(SELECT_NEWEST_SEQUENCE).scalar_one()
            params = {"last": max(newest, db_time(connection)), "batch_size": SEQUENCE_BATCH}
            return connection.execute(ASSIGN_SEQUENCES, params).rowcount

    def _has_unsequenced(self) -> bool:
        query = select(events.c.id).where(IS_UNSEQUENCED).limit(1)
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def _read(self, *filters: ColumnElement[bool], limit: int) -> Sequence[Event]:
        query = select(events).where(*filters).order_by(events.c.sequence).limit(limit)
        with self._database.read() as connection:
            return [mapper.from_row(row) for row in connection.execute(query)]


def _build_filters(query: EventQuery) -> Iterator[ColumnElement[bool]]:
    if query.project is not None:
        yield events.c.project == query.project
    if query.vm_ids:
        yield events.c.vm_id.in_(query.vm_ids)
    if query.kinds:
        yield events.c.kind.in_(query.kinds)
    if query.selector is not None:
        yield events.c.kind.in_(VM_EVENT_KINDS)
        yield from build_selector_conditions(events.c.payload, query.selector)
