"""The database behind the repositories: SQLite or PostgreSQL, one code path.

Repositories open transactions here and nowhere else. Every failure of the database surfaces as
StoreUnavailable.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from threading import Lock

import orjson
from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from vmapi.concurrency.bulkhead import Bulkhead
from vmapi.errors import StoreUnavailable
from vmapi.store import schema_version
from vmapi.store.clock import db_time, sqlite_time
from vmapi.store.connections import engine_setup, statement_spans
from vmapi.store.connections.answer_timeout import current_answer_timeout
from vmapi.store.connections.outages import NO_ANSWER, OutageReporter, url_secrets
from vmapi.store.connections.rotated_password import UrlReader
from vmapi.store.connections.sqlite_files import SqliteFiles, existing_file_url, file_path
from vmapi.store.tables import metadata
from vmapi.telemetry.metrics.catalog import BULKHEAD_REFUSALS, DATABASE_TRANSACTION_SECONDS
from vmapi.telemetry.tracing.tracer import TRACER

MAX_WRITE_SHARE = 2
"""At most one of so many requests that use the database may wait to write: others then read."""

BEGIN_STATEMENTS: dict[str, dict[str, tuple[str, ...]]] = {
    "sqlite": {
        "snapshot": ("BEGIN",),
        # SQLite refuses a transaction that reads first and writes after another writer committed
        "durable": ("PRAGMA synchronous=FULL", "BEGIN IMMEDIATE"),
        "not durable": ("PRAGMA synchronous=NORMAL", "BEGIN IMMEDIATE"),
        "temporary": ("PRAGMA synchronous=OFF", "BEGIN IMMEDIATE"),
    },
    "postgresql": {
        "snapshot": ("BEGIN ISOLATION LEVEL REPEATABLE READ",),
        "durable": ("BEGIN",),
        "not durable": ("BEGIN; SET LOCAL synchronous_commit TO off",),
    },
}
"""The statements that begin a transaction, by kind. A plain read has none: it autocommits."""

READ_EVERY_TABLE = select(*(select(table).exists() for table in metadata.sorted_tables))
WRITE_NOTHING = text("UPDATE alembic_version SET version_num = version_num")
"""A write that changes no value, and still reaches the disk."""


@dataclass(frozen=True, slots=True)
class PoolUsage:
    """The connections of a pool."""

    used: int
    idle: int
    size: int
    """How many connections the pool may have."""


class Database:
    """One database; connects on first use.

    `threads` sizes the connection pool. `prepare` runs before the first transaction, and again
    until one call succeeds. A `temporary` database is a SQLite file that ends with the process, so
    that no commit waits for the disk. `read_url` returns the present URL: new connections
    use its password.
    """

    def __init__(
        self,
        url: str,
        threads: int,
        prepare: Callable[["Database"], None],
        *,
        temporary: bool = False,
        read_url: UrlReader | None = None,
    ) -> None:
        self._prepare, self._preparing = prepare, Lock()
        self._prepared, self._failed_prepares = False, 0
        # a request that has sent a change must be able to save the response
        self._requests = Bulkhead(threads, _too_many_requests, admits_once=True)
        write_slots = max(1, threads // MAX_WRITE_SHARE)
        self._write_requests = Bulkhead(write_slots, _too_many_requests, admits_once=True)
        parsed, self._files = _open_files(make_url(url))
        self.outages = OutageReporter(url_secrets(parsed), url=parsed)
        self.engine: Engine = create_engine(
            parsed,
            json_deserializer=orjson.loads,
            hide_parameters=True,
            **engine_setup.engine_options(parsed, threads),
        )
        self._detached: set[Connection] = set()
        event.listen(self.engine, "begin", self._begin_transaction)
        engine_setup.install_hooks(self.engine, self._files, read_url, self.outages.hide)
        durable, non_durable = ("temporary",) * 2 if temporary else ("durable", "not durable")
        begins = (durable, non_durable, "read", "snapshot")
        engines = [self.engine.execution_options(begins=kind) for kind in begins]
        self._durable, self._non_durable, self._reader, self._snapshots = engines

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[Connection]:
        """Open a transaction that writes. Raises StoreUnavailable.

        A durable commit is on the disk when the block ends. With `durable=False` the commit is
        asynchronous: a power failure of the database's machine can lose it, the death of a process
        cannot. Use it for leases and for state that can be recovered from the cloud.
        """
        engine = self._durable if durable else self._non_durable
        with (
            self._write_requests.occupying(),
            self._transaction("write"),
            engine.begin() as connection,
        ):
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a connection for reads; each statement sees its own state of the database.

        Raises StoreUnavailable.
        """
        with self.reading(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Open a connection with one state for all reads. Raises StoreUnavailable."""
        with self.reading("snapshot"), self._snapshots.connect() as connection:
            yield connection

    @contextmanager
    def reading(self, kind: str = "read") -> Iterator[None]:
        """Watch reads of any connection. Raises StoreUnavailable if the database fails them."""
        driver_error = self.driver_error
        with self._transaction(kind):
            try:
                yield
            except driver_error as error:
                raise DBAPIError.instance(None, None, error, driver_error) from error

    @property
    def driver_error(self) -> type[Exception]:
        """The base class of the errors of the driver."""
        error: type[Exception] = self.engine.dialect.loaded_dbapi.Error
        return error

    def time(self) -> int:
        """Return the time of the database's clock, in microseconds since 1970.

        Raises StoreUnavailable.
        """
        if self.engine.dialect.name == "sqlite":
            return sqlite_time()
        with self.read() as connection:
            return db_time(connection)

    def connect_detached(self) -> Connection:
        """Open a connection for reads outside the pool. Call it inside `reading`."""
        connection = self._reader.connect()
        connection.detach()
        self._detached.add(connection)
        return connection

    def close_detached(self, connection: Connection) -> None:
        """Close a connection of `connect_detached`, which the server may have ended."""
        self._detached.discard(connection)
        driver_connection = connection.connection.dbapi_connection
        # otherwise the pool rolls back first: on a lost connection it logs the failure as an error
        connection.invalidate()
        connection.close()
        if driver_connection is not None:
            driver_connection.close()

    def check_files(self, connection: Connection) -> None:
        """Check that the files of a SQLite connection are in place. Raises StoreUnavailable."""
        if self._files is not None:
            self._files.check(connection)

    def ping(self) -> None:
        """Read from every table; after a failed write, write too. Raises StoreUnavailable.

        Raises it, too, if a newer version has ended the support for this one.
        """
        with self.read() as connection:
            connection.execute(READ_EVERY_TABLE)
            schema_version.check_support(connection)
        if self.outages.blocks_writes:
            with self.write() as connection:
                connection.execute(WRITE_NOTHING)

    def file_lock(self) -> AbstractContextManager[None]:
        """Create the files of SQLite, and lock them until the block ends.

        PostgreSQL has no files here. The block raises StoreUnavailable if a file cannot be made.
        """
        return self._files.locked() if self._files else nullcontext()

    def pool_usage(self) -> PoolUsage:
        """Return the number of connections in use."""
        pool = self.engine.pool
        assert isinstance(pool, QueuePool)
        return PoolUsage(pool.checkedout(), pool.checkedin(), pool.size())

    def close(self) -> None:
        """Close the connections."""
        for connection in tuple(self._detached):
            self.close_detached(connection)
        self.engine.dispose()

    @contextmanager
    def _transaction(self, kind: str) -> Iterator[None]:
        """Hold a slot for a transaction, watch it for outages, and record its duration."""
        started_at = time.perf_counter()
        try:
            with (
                TRACER.span(f"database {kind}"),
                self._requests.occupying(),
                self.outages.watch(writes=kind == "write"),
            ):
                self._ensure_prepared()
                yield
        except Exception:
            _record_transaction(started_at, kind, "failed")
            raise
        _record_transaction(started_at, kind, "done")

    def _ensure_prepared(self) -> None:
        if self._prepared:
            return
        failed_before = self._failed_prepares
        with _holding_in_time(self._preparing):
            if self._failed_prepares != failed_before:
                # a thread that has waited for a failure does not wait for the next one
                raise StoreUnavailable(NO_ANSWER)
            if not self._prepared:
                try:
                    self._prepare(self)
                except BaseException:
                    self._failed_prepares += 1
                    raise
                if TRACER.is_enabled:
                    statement_spans.install(self.engine)
                self._prepared = True

    def _begin_transaction(self, connection: Connection) -> None:
        self.check_files(connection)
        kind = connection.get_execution_options().get("begins", "durable")
        for statement in BEGIN_STATEMENTS[connection.dialect.name].get(kind, ()):
            connection.exec_driver_sql(statement)


@contextmanager
def _holding_in_time(lock: Lock) -> Iterator[None]:
    """Hold a lock. Raises StoreUnavailable after the time that this thread waits for an answer."""
    timeout = current_answer_timeout()
    if not lock.acquire(timeout=-1 if timeout is None else timeout):
        raise StoreUnavailable(NO_ANSWER, reason="another thread still opens the database")
    try:
        yield
    finally:
        lock.release()


def _record_transaction(started_at: float, kind: str, outcome: str) -> None:
    DATABASE_TRANSACTION_SECONDS.observe(time.perf_counter() - started_at, kind, outcome)


def advisory_lock(connection: Connection, key: str) -> None:
    """Hold the lock of a key until the transaction ends.

    SQLite needs none: it has one writer at a time.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(key))))


def _too_many_requests() -> StoreUnavailable:
    BULKHEAD_REFUSALS.increment("database")
    return StoreUnavailable("Too many requests wait for vmapi's database, which does not respond.")


def _open_files(url: URL) -> tuple[URL, SqliteFiles | None]:
    """Return the URL for the connections, and the files of a SQLite database."""
    path = file_path(url)
    if path is None:
        return url, None
    return existing_file_url(url, path), SqliteFiles(path, metadata.tables)
