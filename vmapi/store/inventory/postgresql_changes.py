"""The changes of VMs that a PostgreSQL has committed since the last read.

The check is one prepared statement, sent by libpq without the cost of SQLAlchemy and psycopg's
cursors. It reads the newest event id, the snapshot, the sync marks and the clock.

Event ids become visible in the order of the commits, not in their own. Therefore the reader
remembers the missing ids below the newest, and asks for them again. The transaction of a missing id
is a writer: it locks the table before it takes the id, and until it ends. When all writers have
ended that held the lock after the id was missed, the next query finds the event, or it was rolled
back. After `connect`, the ids that are missing are unknown. So the reader is settled only when all
writers of that time have ended. Transactions that write no events delay nothing.

Sources: https://www.postgresql.org/docs/current/view-pg-locks.html, and
https://www.postgresql.org/docs/current/functions-info.html (pg_current_snapshot)
"""

import select as sockets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import psycopg
from psycopg import errors
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Text,
    case,
    cast,
    func,
    literal_column,
    select,
    union_all,
)

from vmapi.store.clock import db_now
from vmapi.store.connections import answer_timeout
from vmapi.store.database import Database
from vmapi.store.inventory.changes import (
    MAX_EVENTS_READ,
    NO_CLOCKS,
    SELECT_NEWEST_EVENT_ID,
    SELECT_SYNC_MARKS,
    ChangeReader,
    Changes,
    Clocks,
    build_changes,
    compile_query,
    select_changes,
)
from vmapi.store.tables import events

CHECK = b"vmapi_check"
CHECK_WITH_WRITERS = b"vmapi_check_with_writers"
CHANGES = b"vmapi_changes"
"""The names of the prepared statements."""

MAX_MISSING_EVENTS = 5000
"""Missing ids after which the changes count as unknown: the sequence was set, for example."""

MAX_PAUSE_US = 1_800_000_000
"""Microseconds between two checks after which the changes count as unknown.

An event is stored for an hour or longer, so that a missing one is not committed and purged.
"""

INT8_OID, INT8_ARRAY_OID = 20, 1016
"""The types of the parameters of `CHANGES`. Source: pg_type.dat of PostgreSQL."""

SNAPSHOT = cast(func.pg_current_snapshot(), Text)
WRITERS: ColumnElement[Any] = literal_column(
    "ARRAY(SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND relation = 'events'::regclass AND mode = 'RowExclusiveLock')"
)
"""The transactions that write events. A statement reads the locks after its snapshot."""
NO_WRITERS: ColumnElement[Any] = literal_column("NULL")

Writers = frozenset[str]


def _select_check(writers: ColumnElement[Any]) -> Select[Any]:
    return select(
        SNAPSHOT,
        writers,
        db_now(),
        func.array(SELECT_SYNC_MARKS.scalar_subquery()),
        SELECT_NEWEST_EVENT_ID.scalar_subquery(),
    )


def _select_new_and_late_changes() -> Select[Any]:
    newest, missing = (literal_column(name, BigInteger) for name in ("$1", "$2"))
    changes = select_changes(newest)
    new = changes.where(events.c.id >= newest).order_by(events.c.id).limit(MAX_EVENTS_READ)
    late = changes.where(events.c.id == func.any(missing))
    # the locks are read only if they matter
    writers = case((func.cardinality(missing) > 0, WRITERS))
    return select(SNAPSHOT, writers, union_all(new, late).subquery("changes"))


QUERIES: Mapping[bytes, tuple[Select[Any], Sequence[int]]] = {
    CHECK: (_select_check(NO_WRITERS), ()),
    CHECK_WITH_WRITERS: (_select_check(WRITERS), ()),
    CHANGES: (_select_new_and_late_changes(), (INT8_OID, INT8_ARRAY_OID)),
}
"""The queries of the prepared statements, each with the types of its parameters."""


class PostgresqlChangeReader(ChangeReader):
    """Reads the changes of a PostgreSQL."""

    may_wait = True

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        # with the types of their parameters, by name
        self.statements = {
            name: (compile_query(query, database.engine.dialect), parameter_types)
            for name, (query, parameter_types) in QUERIES.items()
        }
        self._result: PGresult | None = None
        self._clocks = NO_CLOCKS
        self._newest_found_id = 0
        self._snapshot = ""
        # those of the first check that have not ended
        self._first_writers: Writers | None = None
        # by the missing id, those that held the lock then and have not ended; None: not yet read
        self._missing: dict[int, Writers | None] = {}

    @property
    def clocks(self) -> Clocks:
        """The clocks at the last check."""
        return self._clocks

    def connect(self) -> None:
        """Open a connection; changes before it are unknown. Raises StoreUnavailable."""
        super().connect()
        # planning for each new id would cost more than the query
        self._driver_connection.execute("SET plan_cache_mode TO force_generic_plan")
        pgconn = self._driver_connection.pgconn
        self._poll = sockets.poll()
        self._poll.register(pgconn.socket, sockets.POLLIN)
        for name, (statement, parameter_types) in self.statements.items():
            pgconn.send_prepare(name, statement.encode(), parameter_types)
            self._flush()
            self._finish()

    def close(self) -> None:
        """Close the connection."""
        super().close()
        self.is_pending = False
        self._forget()

    def send(self) -> None:
        """Begin a check, unless one is in progress."""
        if not self.is_pending:
            self._send(CHECK if self.is_settled else CHECK_WITH_WRITERS)

    def receive(self, seconds: float) -> bool:
        """Wait for the result of the check; return False if it does not arrive in time."""
        if not self._has_received(seconds):
            return False
        ((snapshot, writers, now, sync_marks, self._newest_found_id),) = self._take_rows()
        if now - self._clocks.now > MAX_PAUSE_US:
            self._forget()
        self._clocks = Clocks(now, sync_marks)
        if not self.is_settled and writers is not None:
            if self._newest_event_id is None:
                self._first_writers = None
            self._first_writers = _unfinished(self._first_writers, writers)
            self.is_settled = not self._first_writers
        has_late_events = bool(self._missing) and snapshot != self._snapshot
        self.has_changes = self._newest_found_id != self._newest_event_id or has_late_events
        return True

    def read_changes(self) -> Changes | None:
        """Return the changes since the last call; None if they are unknown."""
        if self._newest_event_id is None:
            self._newest_event_id = self._newest_found_id
            return None
        parameters = b"%d" % self._newest_event_id, _array(self._missing)
        rows = list(self._query(CHANGES, *parameters))
        changes = build_changes([row[2:] for row in rows], self._newest_event_id)
        if changes is not None:
            self._snapshot, writers = rows[0][:2]
            self._remember_missing({row[2] for row in rows}, writers)
            if len(self._missing) <= MAX_MISSING_EVENTS:
                return changes
        self._forget()
        return None

    def _forget(self) -> None:
        self._newest_event_id, self._missing = None, {}
        self._first_writers, self.is_settled = None, False

    def _remember_missing(self, found: set[int], writers: Sequence[str] | None) -> None:
        newest, self._newest_event_id = self._newest_event_id or 0, max(found)
        # without a writer left, this query was the last
        late = {
            id: remaining if writers is None else _unfinished(remaining, writers)
            for id, remaining in self._missing.items()
            if remaining is None or remaining
        }
        new_ids = range(newest, self._newest_event_id)
        late |= dict.fromkeys(new_ids[: MAX_MISSING_EVENTS + len(found) + 1])
        self._missing = {id: remaining for id, remaining in late.items() if id not in found}

    @property
    def _driver_connection(self) -> psycopg.Connection[Any]:
        assert self._connection is not None
        connection: Any = self._connection.connection.dbapi_connection
        return connection  # type: ignore[no-any-return]

    def _query(self, name: bytes, *parameters: bytes) -> Iterator[Any]:
        """Run a prepared statement. Raises an error of psycopg."""
        if self.is_pending:
            # a check that took longer than the read has waited
            self._finish()
        self._send(name, *parameters)
        return self._finish()

    def _send(self, name: bytes, *parameters: bytes) -> None:
        self._driver_connection.pgconn.send_query_prepared(name, parameters)
        self.is_pending = True
        self._flush()

    def _flush(self) -> None:
        """Send what libpq has buffered. Raises an error of psycopg.

        A long list of missing ids may exceed the buffer of the socket.
        Source: https://www.postgresql.org/docs/current/libpq-async.html (PQflush)
        """
        pgconn, seconds = self._driver_connection.pgconn, answer_timeout.REQUEST_ANSWER_TIMEOUT
        while pgconn.flush():
            self._poll.modify(pgconn.socket, sockets.POLLIN | sockets.POLLOUT)
            if not self._poll.poll(seconds * 1000):
                raise errors.OperationalError(f"no progress within {seconds} s")
            # the server may have to send before it reads
            pgconn.consume_input()
            self._poll.modify(pgconn.socket, sockets.POLLIN)

    def _finish(self) -> Iterator[Any]:
        """Wait for the result of a statement. Raises an error of psycopg."""
        seconds = answer_timeout.REQUEST_ANSWER_TIMEOUT
        if not self._has_received(seconds):
            raise errors.OperationalError(f"no answer within {seconds} s")
        return self._take_rows()

    def _has_received(self, seconds: float) -> bool:
        """Wait for data until the statement has ended; return False after a time without any."""
        pgconn = self._driver_connection.pgconn
        while True:
            while pgconn.is_busy():
                if not self._poll.poll(seconds * 1000):
                    return False
                pgconn.consume_input()
            result = pgconn.get_result()
            if result is None:
                self.is_pending = False
                return True
            self._result = result

    def _take_rows(self) -> Iterator[Any]:
        """Return the rows of the result. Raises an error of psycopg."""
        result, self._result = self._result, None
        assert result is not None
        if result.status not in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            raise errors.error_from_result(result)
        transformer = Transformer(self._driver_connection)
        transformer.set_pgresult(result)
        return (transformer.load_row(number, tuple) for number in range(result.ntuples))


def _unfinished(earlier: Writers | None, writers: Iterable[str]) -> Writers:
    """Return the earlier writers that have not ended; all of these if none are known."""
    return frozenset(writers) if earlier is None else earlier.intersection(writers)


def _array(ids: Iterable[int]) -> bytes:
    return f"{{{','.join(map(str, ids))}}}".encode()
