"""The database behind the repositories: SQLite or PostgreSQL, one code path.

Repositories open transactions here and nowhere else. Every failure of the database surfaces as
StoreUnavailable.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock

import orjson
from sqlalchemy import URL, Connection, Engine, create_engine, event, func, make_url, select, text

from vmapi.concurrency.bulkhead import Bulkhead
from vmapi.errors import StoreUnavailable
from vmapi.store import connections
from vmapi.store.clock import db_time, sqlite_time
from vmapi.store.outages import NO_ANSWER, OutageReporter, url_secrets
from vmapi.store.sqlite_files import SqliteFiles, existing_file_url, file_path
from vmapi.store.tables import metadata

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


class Database:
    """One database; connects on first use.

    `threads` sizes the connection pool. `prepare` runs before the first transaction, and again
    until one call succeeds. A `temporary` database is a SQLite file that ends with the process, so
    that no commit waits for the disk.
    """

    def __init__(
        self,
        url: str,
        threads: int,
        prepare: Callable[["Database"], None],
        *,
        temporary: bool = False,
    ) -> None:
        self._prepare = prepare
        self._prepared = False
        self._failed_prepares = 0
        self._preparing = Lock()
        # a request that has sent a change must be able to save the response
        self._requests = Bulkhead(threads, _too_many_requests, admits_once=True)
        writes = max(1, threads // MAX_WRITE_SHARE)
        self._write_requests = Bulkhead(writes, _too_many_requests, admits_once=True)
        parsed, self._files = _open_files(make_url(url))
        self.is_file = self._files is not None
        self.outages = OutageReporter(url_secrets(parsed))
        self.engine: Engine = create_engine(
            parsed,
            json_deserializer=orjson.loads,
            hide_parameters=True,
            **connections.engine_options(parsed, threads),
        )
        event.listen(self.engine, "begin", self._begin_transaction)
        connections.install_hooks(self.engine, self._files)
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
            self._requests.occupying(),
            self.outages.watch(writes=True),
        ):
            self._ensure_prepared()
            with engine.begin() as connection:
                yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a connection for reads; each statement sees its own state of the database.

        Raises StoreUnavailable.
        """
        with self._requests.occupying(), self.outages.watch(writes=False):
            self._ensure_prepared()
            with self._reader.connect() as connection:
                yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Open a connection with one state for all reads. Raises StoreUnavailable."""
        with self._requests.occupying(), self.outages.watch(writes=False):
            self._ensure_prepared()
            with self._snapshots.connect() as connection:
                yield connection

    def time(self) -> int:
        """Return the time of the database's clock, in microseconds since 1970.

        Raises StoreUnavailable.
        """
        if self.engine.dialect.name == "sqlite":
            return sqlite_time()
        with self.read() as connection:
            return db_time(connection)

    def connect_detached(self) -> Connection:
        """Open a connection for reads outside the pool, which the caller closes.

        Raises StoreUnavailable and the errors of SQLAlchemy, which count as no outage.
        """
        with self._requests.occupying():
            self._ensure_prepared()
            connection = self._reader.connect()
            connection.detach()
            return connection

    def check_files(self, connection: Connection) -> None:
        """Check that the files of a SQLite connection are in place. Raises StoreUnavailable."""
        if self._files is not None:
            self._files.check(connection)

    def ping(self) -> None:
        """Read from every table; after a failed write, write too. Raises StoreUnavailable."""
        with self.read() as connection:
            connection.execute(READ_EVERY_TABLE)
        if self.outages.blocks_writes:
            with self.write() as connection:
                connection.execute(WRITE_NOTHING)

    def file_lock(self) -> AbstractContextManager[None]:
        """Create the files of SQLite, and lock them until the block ends.

        PostgreSQL has no files here. The block raises StoreUnavailable if a file cannot be made.
        """
        return self._files.locked() if self._files else nullcontext()

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
                raise StoreUnavailable(NO_ANSWER)
            if not self._prepared:
                try:
                    self._prepare(self)
                except BaseException:
                    self._failed_prepares += 1
                    raise
                self._prepared = True

    def _begin_transaction(self, connection: Connection) -> None:
        self.check_files(connection)
        kind = connection.get_execution_options().get("begins", "durable")
        for statement in BEGIN_STATEMENTS[connection.dialect.name].get(kind, ()):
            connection.exec_driver_sql(statement)


def advisory_lock(connection: Connection, key: str) -> None:
    """Hold the lock of a key until the transaction ends.

    SQLite needs none: it has one writer at a time.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(key))))


def _too_many_requests() -> StoreUnavailable:
    return StoreUnavailable("Too many requests wait for vmapi's database, which does not respond.")


def _open_files(url: URL) -> tuple[URL, SqliteFiles | None]:
    """Return the URL for the connections, and the files of a SQLite database."""
    path = file_path(url)
    return (existing_file_url(url, path), SqliteFiles(path)) if path else (url, None)
