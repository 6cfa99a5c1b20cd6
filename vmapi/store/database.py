"""The database behind the repositories: SQLite or PostgreSQL, one code path.

Repositories open transactions here and nowhere else. Every failure of the database surfaces as
StoreUnavailable.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

import orjson
from sqlalchemy import (
    Connection,
    Engine,
    create_engine,
    event,
    func,
    make_url,
    select,
)
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from vmapi.concurrency.bulkhead import Bulkhead
from vmapi.errors import StoreUnavailable
from vmapi.store import connections

MAX_WRITE_SHARE = 2
"""At most one of so many requests that use the database may wait to write: others then read."""

NO_ANSWER_DETAIL = "vmapi's database does not answer."

READ_ONLY_SQLSTATE = "25006"
"""PostgreSQL's error code for a write on a standby."""

BEGIN_STATEMENTS: dict[str, dict[str, tuple[str, ...]]] = {
    "sqlite": {
        "snapshot": ("BEGIN",),
        # SQLite refuses a transaction that reads first and writes after another writer committed
        "durable": ("PRAGMA synchronous=FULL", "BEGIN IMMEDIATE"),
        "not durable": ("PRAGMA synchronous=NORMAL", "BEGIN IMMEDIATE"),
    },
    "postgresql": {
        "snapshot": ("BEGIN ISOLATION LEVEL REPEATABLE READ",),
        "durable": ("BEGIN",),
        "not durable": ("BEGIN; SET LOCAL synchronous_commit TO off",),
    },
}
"""The statements that begin a transaction, by kind. A plain read has none: it autocommits."""


class Database:
    """One database; connects on first use.

    `threads` sizes the connection pool. `prepare` runs before the first transaction, and again
    until one call succeeds.
    """

    def __init__(self, url: str, threads: int, prepare: Callable[["Database"], None]) -> None:
        self._prepare = prepare
        self._prepared = False
        self._failed_prepares = 0
        self._preparing = Lock()
        # a request that has sent a change must be able to save the response
        self._requests = Bulkhead(threads, _too_many_requests, admits_once=True)
        writes = max(1, threads // MAX_WRITE_SHARE)
        self._write_requests = Bulkhead(writes, _too_many_requests, admits_once=True)
        parsed = make_url(url)
        self.engine: Engine = create_engine(
            parsed,
            json_deserializer=orjson.loads,
            hide_parameters=True,
            **connections.engine_options(parsed, threads),
        )
        event.listen(self.engine, "begin", _begin_transaction)
        connections.install_hooks(self.engine)
        self._non_durable = self.engine.execution_options(begins="not durable")
        self._reader = self.engine.execution_options(begins="read")
        self._snapshots = self.engine.execution_options(begins="snapshot")

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """Open a transaction that writes. Raises StoreUnavailable.

        A durable commit is on the disk when the block ends. With `durable=False` the commit is
        asynchronous: a power failure of the database's machine can lose it, the death of a process
        cannot. Use it for leases and for state that can be recovered from the cloud.
        """
        engine = self.engine if durable else self._non_durable
        with self._write_requests.occupying(), self._requests.occupying():
            self._ensure_prepared()
            with translate_errors(), engine.begin() as connection:
                yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a connection for reads; each statement sees its own state of the database.

        Raises StoreUnavailable.
        """
        with self._requests.occupying():
            self._ensure_prepared()
            with translate_errors(), self._reader.connect() as connection:
                yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Open a connection with one state for all reads. Raises StoreUnavailable."""
        with self._requests.occupying():
            self._ensure_prepared()
            with translate_errors(), self._snapshots.connect() as connection:
                yield connection

    def ping(self) -> None:
        """Run a query. Raises StoreUnavailable."""
        with self.read() as connection:
            connection.execute(select(1))

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def _ensure_prepared(self) -> None:
        if self._prepared:
            return
        failed_before = self._failed_prepares
        with self._preparing:
            if self._failed_prepares != failed_before:
                # a thread that has waited for a failure does not wait for the next one
                raise StoreUnavailable(NO_ANSWER_DETAIL)
            if not self._prepared:
                try:
                    self._prepare(self)
                except BaseException:
                    self._failed_prepares += 1
                    raise
                self._prepared = True


def advisory_lock(connection: Connection, key: str) -> None:
    """Hold the lock of a key until the transaction ends.

    SQLite needs none: it has one writer at a time.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(key))))


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise StoreUnavailable for a database that is down, locked, full or a standby."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise StoreUnavailable(NO_ANSWER_DETAIL) from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise StoreUnavailable("vmapi's database closed the connection.") from error
        if getattr(error.orig, "sqlstate", None) == READ_ONLY_SQLSTATE:
            raise StoreUnavailable("vmapi's database is read-only now.") from error
        raise


def _begin_transaction(connection: Connection) -> None:
    kind = connection.get_execution_options().get("begins", "durable")
    for statement in BEGIN_STATEMENTS[connection.dialect.name].get(kind, ()):
        connection.exec_driver_sql(statement)


def _too_many_requests() -> StoreUnavailable:
    return StoreUnavailable("Too many requests wait for vmapi's database, which does not respond.")
