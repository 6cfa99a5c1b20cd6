"""The changes of VMs that a database has committed since the last read.

A reader has a separate connection. `ReadCache` asks it before each read whether anything has
changed. The event log then names the changed VMs: every visible change of a VM is written together
with an event, in one transaction, and before the event.

Protocol: `send` begins a check, and `receive` waits for its result. Only then `has_changes` and
`clocks` are valid, and `read_changes` may be called. An error of the driver means that the caller
has to `connect` again.
"""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from time import monotonic
from typing import Any, NamedTuple

import orjson
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Dialect,
    Select,
    Text,
    cast,
    func,
    literal_column,
    select,
    type_coerce,
)

from vmapi.domain.vm import VM
from vmapi.store.clock import past_time, sqlite_time, to_seconds
from vmapi.store.database import Database
from vmapi.store.inventory.vm_view import IndexedVM
from vmapi.store.mappers import vm as vm_mapper
from vmapi.store.tables import events, sync_state, vms

MAX_EVENTS_READ = 2000
"""Events since the last read after which the changes count as unknown."""

FILE_CHECK_INTERVAL = 0.1
"""Seconds between two checks that the file was neither deleted nor replaced."""

INDEXED_EXPRESSIONS: Mapping[str, ColumnElement[Any]] = {
    **vms.c,
    "image": func.coalesce(vms.c.image, "").label("image"),
    # SQLite shows a missing member as null
    "metadata": func.coalesce(
        func.nullif(cast(vms.c.observed["metadata"], Text), "null"), "{}"
    ).label("metadata"),
    # as microseconds
    "created_at": type_coerce(vms.c.created_at, BigInteger).label("created_at"),
    "updated_at": type_coerce(vms.c.updated_at, BigInteger).label("updated_at"),
}
INDEXED_COLUMNS = tuple(INDEXED_EXPRESSIONS[name] for name in IndexedVM._fields)
SELECT_SYNC_MARKS = select(sync_state.c.started_at)
SELECT_NEWEST_EVENT_ID = select(func.coalesce(func.max(events.c.id), 0))


def select_changes(newest_event_id: ColumnElement[int]) -> Select[Any]:
    """Return the query of events, each with its VM as it is now: NULL if it is deleted.

    The newest event that is known comes without its VM.
    """
    is_live_vm = (vms.c.id == events.c.vm_id) & vms.c.deleted_at.is_(None)
    return select(
        events.c.id.label("event_id"),
        events.c.kind,
        events.c.vm_id,
        *INDEXED_COLUMNS,
        vms.c.task,
        cast(vms.c.observed, Text).label("observed"),
        vms.c.observation_started_at,
    ).select_from(events.outerjoin(vms, is_live_vm & (events.c.id != newest_event_id)))


@cache
def compile_query(query: Select[Any], dialect: Dialect) -> str:
    """Return the text of a query, with its values."""
    return str(query.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


class ChangedVM(NamedTuple):
    """A live VM after a change."""

    indexed: IndexedVM
    task: str | None
    observed: str
    observation_started_at: int

    def decode(self) -> VM:
        """Return the VM."""
        document = orjson.loads(self.observed)
        return vm_mapper.build(document, self.indexed.status, self.task, self.indexed.project)


Changes = Mapping[str, ChangedVM | None]
"""The changed VMs by id; None for a deleted one."""


class Clocks(NamedTuple):
    """Times in microseconds since 1970."""

    now: int
    """The time of the database."""
    sync_marks: Sequence[int]
    """The starts of the last syncs."""

    def age_seconds(self, *observed_at: int) -> float | None:
        """Return the seconds since an observation or the last sync; None without any."""
        times = [past_time(time, self.now) for time in (*observed_at, *self.sync_marks)]
        return to_seconds(self.now - max(times)) if times else None

    def after(self, seconds: float) -> "Clocks":
        """Return the clocks after some seconds without a sync."""
        return self._replace(now=self.now + round(seconds * 1_000_000))


NO_CLOCKS = Clocks(0, ())
"""The clocks before the first check."""


class ChangeReader(ABC):
    """Reads changes with a separate connection. Not thread-safe."""

    has_changes = False
    """Whether the last check has found that VMs may have changed."""

    is_settled = True
    """Whether every change so far is read or will be read."""

    may_wait = False
    """Whether a statement may take time."""

    is_pending = False
    """Whether a check has no result yet."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None
        self._newest_event_id: int | None = None

    @property
    def is_connected(self) -> bool:
        """Whether a connection is open."""
        return self._connection is not None

    @property
    @abstractmethod
    def clocks(self) -> Clocks:
        """The clocks at the last check."""

    def connect(self) -> None:
        """Open a connection; changes before it are unknown. Raises StoreUnavailable."""
        self.close()
        self._connection = self._database.connect_detached()

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        self._newest_event_id = None
        if connection is not None:
            self._database.close_detached(connection)

    @abstractmethod
    def send(self) -> None:
        """Begin a check, unless one is in progress."""

    @abstractmethod
    def receive(self, seconds: float) -> bool:
        """Wait for the result of the check; return False if it does not arrive in time."""

    @abstractmethod
    def read_changes(self) -> Changes | None:
        """Return the changes since the last call; None if they are unknown."""


NEWEST_EVENT_ID = literal_column("?1", BigInteger)
SELECT_CHANGES = (
    select_changes(NEWEST_EVENT_ID)
    .where(events.c.id >= NEWEST_EVENT_ID)
    .order_by(events.c.id)
    .limit(MAX_EVENTS_READ)
)


class SqliteChangeReader(ChangeReader):
    """Reads the changes of a SQLite file.

    `PRAGMA data_version` shows whether another connection has committed, for the price of a memory
    access. Source: https://www.sqlite.org/pragma.html#pragma_data_version
    """

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        dialect = database.engine.dialect
        self._select_changes = compile_query(SELECT_CHANGES, dialect)
        self._select_newest_event_id = compile_query(SELECT_NEWEST_EVENT_ID, dialect)
        self._select_sync_marks = compile_query(SELECT_SYNC_MARKS, dialect)
        self._version: int | None = None
        self._checked_version: int | None = None
        self._next_file_check_at = 0.0
        self._lock_timeout: float | None = None
        self._sync_marks: Sequence[int] = ()

    @property
    def clocks(self) -> Clocks:
        """The clocks at the last check."""
        return Clocks(sqlite_time(), self._sync_marks)

    def close(self) -> None:
        """Close the connection."""
        super().close()
        self._version, self._next_file_check_at, self._lock_timeout = None, 0.0, None

    def send(self) -> None:
        """Do nothing: `receive` reads the version."""

    def receive(self, seconds: float) -> bool:
        """Read the version of the database. Raises StoreUnavailable if its files are gone."""
        if (time := monotonic()) >= self._next_file_check_at:
            assert self._connection is not None
            self._database.check_files(self._connection)
            self._next_file_check_at = time + FILE_CHECK_INTERVAL
        self._limit_lock_wait(seconds)
        ((self._checked_version,),) = self._select("PRAGMA data_version")
        self.has_changes = self._checked_version != self._version
        if self.has_changes:
            # before the events: each mark is committed after its observations and their events
            self._sync_marks = [mark for (mark,) in self._select(self._select_sync_marks)]
        return True

    def read_changes(self) -> Changes | None:
        """Return the changes since the last call; None if they are unknown."""
        rows = self._select(self._select_changes, self._newest_event_id)
        changes = build_changes(rows, self._newest_event_id)
        if changes is not None:
            self._newest_event_id = rows[-1][0]
        else:
            ((self._newest_event_id,),) = self._select(self._select_newest_event_id)
        self._version = self._checked_version
        return changes

    def _limit_lock_wait(self, seconds: float) -> None:
        """Fail statements that wait longer for a lock: of a process that recovers the file."""
        if seconds != self._lock_timeout:
            self._execute(f"PRAGMA busy_timeout={round(seconds * 1000)}")
            self._lock_timeout = seconds

    def _select(self, statement: str, *parameters: Any) -> list[Any]:
        return self._execute(statement, *parameters).fetchall()

    def _execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        assert self._connection is not None
        connection: Any = self._connection.connection.dbapi_connection
        cursor: sqlite3.Cursor = connection.execute(statement, parameters)
        return cursor


def build_changes(
    rows: Sequence[Sequence[Any]], newest_event_id: int | None
) -> dict[str, ChangedVM | None] | None:
    """Return the changes of rows of `select_changes` since an event; None if some are missing.

    Without that event among the rows, others may have been purged, or the database was restored.
    """
    changes: dict[str, ChangedVM | None] = {}
    is_complete = False
    for event_id, kind, vm_id, *columns, task, observed, observation_started_at in rows:
        if event_id == newest_event_id:
            is_complete = True
        elif kind.startswith("vm."):
            is_live = columns[0] is not None
            changes[vm_id] = (
                ChangedVM(IndexedVM(*columns), task, observed, observation_started_at)
                if is_live
                else None
            )
    return changes if is_complete and len(rows) < MAX_EVENTS_READ else None


def new_change_reader(database: Database) -> ChangeReader:
    """Return the reader for a database."""
    if database.engine.dialect.name == "sqlite":
        return SqliteChangeReader(database)
    # imported only where the settings name a PostgreSQL
    from vmapi.store.inventory.postgresql_changes import PostgresqlChangeReader

    return PostgresqlChangeReader(database)
