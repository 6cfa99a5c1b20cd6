"""Events: written with what they tell of, and numbered once that is visible to all.

A number that is given while a transaction is under way would be passed over by who reads before it
commits. So events are written without one, and those that are committed are given theirs under one
lock, by whoever wants to read them.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, func, select

from vmapi.domain.event import EVENT_BATCH, Event, EventQuery
from vmapi.store.database import Database, advisory_lock, db_now, db_time
from vmapi.store.mappers import event as event_rows
from vmapi.store.tables import events
from vmapi.store.types import MICROSECOND

SEQUENCE_BATCH = 5000
"""Events that are given their numbers in one transaction."""

SEQUENCE_LOCK = "events"
"""Who gives numbers has this lock."""

INSERT_EVENT = events.insert().values(at=db_now())
IS_UNSEQUENCED = events.c.sequence.is_(None)
SELECT_UNSEQUENCED = (
    select(events.c.id, func.row_number().over(order_by=events.c.id).label("rank"))
    .where(IS_UNSEQUENCED)
    .order_by(events.c.id)
    .limit(bindparam("most"))
    .subquery()
)
ASSIGN_SEQUENCES = (
    events.update()
    .where(events.c.id == SELECT_UNSEQUENCED.c.id)
    .values(sequence=bindparam("last") + SELECT_UNSEQUENCED.c.rank)
)
SELECT_NEWEST_SEQUENCE = select(func.coalesce(func.max(events.c.sequence), 0))


def append(connection: Connection, *happened: dict[str, Any]) -> None:
    """Write events, in their order, within the transaction of what they tell."""
    if happened:
        connection.execute(INSERT_EVENT, list(happened))


class EventLog:
    """The events of one database. Any method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def assign_sequences(self) -> int:
        """Give numbers to all events that are visible by now; return the newest number, or 0.

        Numbers are times: one from before a database was made anew, or put back to what it was,
        is not met again.
        """
        # not until none is new: there may always be one
        while self._has_unsequenced() and self._assign_batch() == SEQUENCE_BATCH:
            pass
        with self._database.read() as connection:
            return int(connection.execute(SELECT_NEWEST_SEQUENCE).scalar_one())

    def contains(self, sequence: int) -> bool:
        """Tell whether an event of this number is kept."""
        query = select(events.c.id).where(events.c.sequence == sequence)
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def read_after(self, sequence: int) -> Sequence[Event]:
        """Return the next events after a number, at most `BATCH`."""
        return self._read(events.c.sequence > sequence)

    def read_range(self, after: int, last: int, query: EventQuery) -> Sequence[Event]:
        """Return the next events that are asked for after a number, up to the last."""
        return self._read(
            events.c.sequence > after, events.c.sequence <= last, *_build_filters(query)
        )

    def purge(self, max_age: timedelta) -> int:
        """Forget some events that are older than that, but never the newest; return how many."""
        old = events.c.sequence < db_now() - max_age // MICROSECOND
        newest = SELECT_NEWEST_SEQUENCE.scalar_subquery()
        some = select(events.c.id).where(old, events.c.sequence < newest)
        some = some.order_by(events.c.sequence).limit(SEQUENCE_BATCH)
        with self._database.write() as connection:
            return connection.execute(events.delete().where(events.c.id.in_(some))).rowcount

    def _assign_batch(self) -> int:
        with self._database.write() as connection:
            advisory_lock(connection, SEQUENCE_LOCK)
            last = max(connection.execute(SELECT_NEWEST_SEQUENCE).scalar_one(), db_time(connection))
            return connection.execute(
                ASSIGN_SEQUENCES, {"last": last, "most": SEQUENCE_BATCH}
            ).rowcount

    def _has_unsequenced(self) -> bool:
        query = select(events.c.id).where(IS_UNSEQUENCED).limit(1)
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def _read(self, *clauses: ColumnElement[bool]) -> Sequence[Event]:
        query = select(events).where(*clauses).order_by(events.c.sequence).limit(EVENT_BATCH)
        with self._database.read() as connection:
            return [event_rows.from_row(row) for row in connection.execute(query)]


def _build_filters(query: EventQuery) -> Iterator[ColumnElement[bool]]:
    if query.project is not None:
        yield events.c.project == query.project
    if query.vm_ids:
        yield events.c.vm_id.in_(query.vm_ids)
    if query.kinds:
        yield events.c.kind.in_(query.kinds)
