"""Events: written with what they tell of, and numbered once that is visible to all.

A number that is given while a transaction is under way would be passed over by who reads before it
commits. So events are written without one, and those that are committed are given theirs under one
lock, by whoever wants to read them.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, func, select

from vmapi.domain.event import BATCH, Event, EventQuery
from vmapi.store.database import Database, lock, now, present
from vmapi.store.mappers import event as event_rows
from vmapi.store.tables import events
from vmapi.store.types import MICROSECOND

NUMBERED = 5000
"""Events that are given their numbers in one transaction."""

LOCK = "events"
"""Who gives numbers has this lock."""

INSERT = events.insert().values(at=now())
IS_NEW = events.c.number.is_(None)
NEW = (
    select(events.c.id, func.row_number().over(order_by=events.c.id).label("place"))
    .where(IS_NEW)
    .order_by(events.c.id)
    .limit(bindparam("most"))
    .subquery()
)
NUMBER = (
    events.update().where(events.c.id == NEW.c.id).values(number=bindparam("last") + NEW.c.place)
)
NEWEST = select(func.coalesce(func.max(events.c.number), 0))


def append(connection: Connection, *happened: dict[str, Any]) -> None:
    """Write events, in their order, within the transaction of what they tell."""
    if happened:
        connection.execute(INSERT, list(happened))


class EventLog:
    """The events of one database. Any method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def number(self) -> int:
        """Give numbers to all events that are visible by now; return the newest number, or 0.

        Numbers are times: one from before a database was made anew, or put back to what it was,
        is not met again.
        """
        # not until none is new: there may always be one
        while self._has_new() and self._number_some() == NUMBERED:
            pass
        with self._database.read() as connection:
            return int(connection.execute(NEWEST).scalar_one())

    def has(self, number: int) -> bool:
        """Tell whether an event of this number is kept."""
        query = select(events.c.id).where(events.c.number == number)
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def after(self, number: int) -> Sequence[Event]:
        """Return the next events after a number, at most `BATCH`."""
        return self._find(events.c.number > number)

    def between(self, number: int, last: int, wanted: EventQuery) -> Sequence[Event]:
        """Return the next events that are asked for after a number, up to the last."""
        return self._find(events.c.number > number, events.c.number <= last, *_wanted(wanted))

    def forget(self, age: timedelta) -> int:
        """Forget some events that are older than that, but never the newest; return how many."""
        old = events.c.number < now() - age // MICROSECOND
        newest = NEWEST.scalar_subquery()
        some = select(events.c.id).where(old, events.c.number < newest)
        some = some.order_by(events.c.number).limit(NUMBERED)
        with self._database.write() as connection:
            return connection.execute(events.delete().where(events.c.id.in_(some))).rowcount

    def _number_some(self) -> int:
        with self._database.write() as connection:
            lock(connection, LOCK)
            last = max(connection.execute(NEWEST).scalar_one(), present(connection))
            return connection.execute(NUMBER, {"last": last, "most": NUMBERED}).rowcount

    def _has_new(self) -> bool:
        query = select(events.c.id).where(IS_NEW).limit(1)
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def _find(self, *clauses: ColumnElement[bool]) -> Sequence[Event]:
        query = select(events).where(*clauses).order_by(events.c.number).limit(BATCH)
        with self._database.read() as connection:
            return [event_rows.event(row) for row in connection.execute(query)]


def _wanted(query: EventQuery) -> Iterator[ColumnElement[bool]]:
    if query.project is not None:
        yield events.c.project == query.project
    if query.vm_ids:
        yield events.c.vm_id.in_(query.vm_ids)
    if query.kinds:
        yield events.c.kind.in_(query.kinds)
