"""Connection options and hooks: pool size, timeouts, keepalives, pings.

`Database` creates its engine with them. Invariant: no call waits without limit for a lock, a free
connection or a peer that has vanished.
"""

import os
import select as sockets
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from sqlalchemy import URL, Engine, event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

from vmapi.store.clock import sqlite_time
from vmapi.store.connections.answer_timeout import answer_timeout
from vmapi.store.connections.rotated_password import RotatedPassword, UrlReader
from vmapi.store.connections.sqlite_files import SqliteFiles

LOCK_TIMEOUT = 5.0
"""Seconds that a transaction waits for a lock, or for a free connection of the pool."""
POOL_HEADROOM = 8
"""Connections beyond one for each request thread: the engine needs them."""
PING_TIMEOUT = 2.0
"""Seconds that a ping waits for its answer: it waits for no lock."""
PING_AFTER_IDLE = 1.0
"""Seconds without use after which a connection is pinged: its peer may have vanished."""
IDLE_IN_TRANSACTION_TIMEOUT = 60.0
"""Seconds after which PostgreSQL ends a transaction without statements, and releases its locks.

Every transaction of vmapi sends statements more often than that.
"""
TCP_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 3, "keepalives_count": 3}
"""Seconds of silence before the first TCP keepalive, between two, and how many may fail.

Source: https://www.postgresql.org/docs/current/libpq-connect.html
"""
LIBPQ_TIMEOUTS = {"connect_timeout": 3, "tcp_user_timeout": 10_000, **TCP_KEEPALIVE}
"""Seconds to connect, and milliseconds until the peer must acknowledge sent data."""


def engine_options(url: URL, threads: int) -> dict[str, Any]:
    """Return the arguments of `create_engine` for a number of threads."""
    options: dict[str, Any] = {
        "pool_size": threads + POOL_HEADROOM,
        "max_overflow": 0,
        "pool_timeout": LOCK_TIMEOUT,
    }
    if url.get_backend_name() == "sqlite":
        return options | {"connect_args": {"timeout": LOCK_TIMEOUT, "check_same_thread": False}}
    # switching the isolation level for each transaction would cost more than the BEGIN statement
    return options | {"isolation_level": "AUTOCOMMIT", "connect_args": _libpq_options(url)}


def install_hooks(
    engine: Engine,
    files: SqliteFiles | None,
    read_url: UrlReader | None,
    hide: Callable[[str], None],
) -> None:
    """Install connection hooks: pragmas, clock and file checks in SQLite, pings in PostgreSQL.

    `hide` keeps a password of `read_url` out of the log.
    """
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite_connection)
        if files is not None:
            event.listen(engine, "do_connect", lambda *_: files.check_presence())
            event.listen(engine, "connect", partial(_register_files, files))
            for closing in ("close", "close_detached"):
                event.listen(engine, closing, lambda connection, *_: files.unregister(connection))
    else:
        password = RotatedPassword(read_url, hide)
        event.listen(engine, "do_connect", partial(_open_bounded_connection, password))
        event.listen(engine, "checkin", _on_checkin)
        event.listen(engine, "checkout", _ping_on_checkout(engine))


def _libpq_options(url: URL) -> dict[str, Any]:
    settings = {
        "lock_timeout": int(LOCK_TIMEOUT * 1000),
        "idle_in_transaction_session_timeout": int(IDLE_IN_TRANSACTION_TIMEOUT * 1000),
        **{f"tcp_{name}": value for name, value in TCP_KEEPALIVE.items()},
    }
    options = [f"-c {name}={value}" for name, value in settings.items()]
    # options of the operator come last and take precedence
    options += url.normalized_query.get("options", (os.environ.get("PGOPTIONS", ""),))
    timeouts = {name: value for name, value in LIBPQ_TIMEOUTS.items() if name not in url.query}
    return {**timeouts, "options": " ".join(options)}


def _prepare_sqlite_connection(connection: Any, _: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()
    connection.create_function("epoch_us", 0, sqlite_time)


def _register_files(files: SqliteFiles, connection: Any, record: ConnectionPoolEntry) -> None:
    files.register(connection, record.info)


def _open_bounded_connection(
    password: RotatedPassword, _: Any, __: Any, args: Any, options: Any
) -> Any:
    # imported only where the settings name a PostgreSQL
    from psycopg import OperationalError

    from vmapi.store.connections.bounded import BoundedConnection

    return password.connect(partial(BoundedConnection.connect, *args), OperationalError, options)


def _ping_on_checkout(engine: Engine) -> Callable[..., None]:
    def ping(connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
        idle = time.monotonic() - record.info.get("idle_since", 0.0)
        if idle < PING_AFTER_IDLE and not _has_pending_data(connection):
            return
        try:
            with answer_timeout(PING_TIMEOUT):
                engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error

    return ping


def _has_pending_data(connection: Any) -> bool:
    # the server sends nothing unasked except the end of the connection
    poll = sockets.poll()
    poll.register(connection, sockets.POLLIN)
    return bool(poll.poll(0))


def _on_checkin(_: Any, record: ConnectionPoolEntry) -> None:
    record.info["idle_since"] = time.monotonic()
