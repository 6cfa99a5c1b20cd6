"""The database: SQLite in WAL mode or PostgreSQL, one code path."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
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
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement

from vmapi.errors import StoreUnavailable
from vmapi.store import connections

READ_ONLY_SQLSTATE = "25006"
"""PostgreSQL's code for a change that a standby is asked for."""

BEGIN_STATEMENTS: dict[str, dict[str, tuple[str, ...]]] = {
    "sqlite": {
        "snapshot": ("BEGIN",),
        # a writer that first reads and then writes would be refused when another one came between
        "write": ("PRAGMA synchronous=FULL", "BEGIN IMMEDIATE"),
        "hasty": ("PRAGMA synchronous=NORMAL", "BEGIN IMMEDIATE"),
    },
    "postgresql": {
        "snapshot": ("BEGIN ISOLATION LEVEL REPEATABLE READ",),
        "write": ("BEGIN",),
        "hasty": ("BEGIN; SET LOCAL synchronous_commit TO off",),
    },
}
"""How a transaction begins. Where one only reads, each statement is one by itself."""


class db_now(FunctionElement[int]):
    """The database's clock, in microseconds since 1970: the one clock that all processes share."""

    type = BigInteger()
    inherit_cache = True


@compiles(db_now, "sqlite")
def _db_now_sqlite(*_: Any, **__: Any) -> str:
    return "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"


@compiles(db_now, "postgresql")
def _db_now_postgresql(*_: Any, **__: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"


class Database:
    """One database, connected to on first use; `threads` sizes the pool.

    `prepare` is called before the first transaction, and again until it has returned once.
    """

    def __init__(self, url: str, threads: int, prepare: Callable[["Database"], None]) -> None:
        self._prepare = prepare
        self._prepared = False
        self._preparing = Lock()
        parsed = make_url(url)
        self.engine: Engine = create_engine(
            parsed,
            json_deserializer=orjson.loads,
            hide_parameters=True,
            **connections.engine_options(parsed, threads),
        )
        event.listen(self.engine, "begin", _begin_transaction)
        connections.install_hooks(self.engine)
        self._hasty = self.engine.execution_options(begins="hasty")
        self._reader = self.engine.execution_options(begins="read")
        self._snapshots = self.engine.execution_options(begins="snapshot")

    @contextmanager
    def write(self, *, hasty: bool = False) -> Iterator[Connection]:
        """Open a transaction that changes something. Raises StoreUnavailable.

        Once it has ended, it is on the disk. One that is `hasty` does not wait for that, and may be
        lost when the database's machine dies soon after: what it says can be found again in the
        cloud, or is of no use then.
        """
        self._ensure_prepared()
        with translate_errors(), (self._hasty if hasty else self.engine).begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Lend a connection for looking, each statement by itself. Raises StoreUnavailable."""
        self._ensure_prepared()
        with translate_errors(), self._reader.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Lend a connection for looks that all show one moment. Raises StoreUnavailable."""
        self._ensure_prepared()
        with translate_errors(), self._snapshots.connect() as connection:
            yield connection

    def _ensure_prepared(self) -> None:
        if not self._prepared:
            with self._preparing:
                if not self._prepared:
                    self._prepare(self)
                    self._prepared = True

    def ping(self) -> None:
        """Return when the database answers. Raises StoreUnavailable."""
        with self.read() as connection:
            connection.execute(select(1))

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()


def db_time(connection: Connection) -> int:
    """Return what time it is on the database's clock, in microseconds since 1970."""
    return int(connection.execute(select(db_now())).scalar_one())


def advisory_lock(connection: Connection, key: str) -> None:
    """Let nobody else have the lock of this key until the transaction ends.

    SQLite has one writer at a time anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(key))))


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise StoreUnavailable for a database that is away, locked, full or a standby."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as away:
        raise StoreUnavailable("vmapi's database does not answer.") from away
    except DBAPIError as lost:
        if lost.connection_invalidated:
            raise StoreUnavailable("vmapi's database broke the connection off.") from lost
        if getattr(lost.orig, "sqlstate", None) == READ_ONLY_SQLSTATE:
            raise StoreUnavailable("vmapi's database takes no changes now.") from lost
        raise


def _begin_transaction(connection: Connection) -> None:
    kind = connection.get_execution_options().get("begins", "write")
    for statement in BEGIN_STATEMENTS[connection.dialect.name].get(kind, ()):
        connection.exec_driver_sql(statement)
