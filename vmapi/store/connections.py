"""How a database is connected to, and how long anything there may be waited for."""

import os
import select as sockets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

LOCK_TIMEOUT = 5.0
"""Seconds that a writer waits for another one, or for a free connection."""
POOL_HEADROOM = 8
"""Connections beside one for each thread: the engine's."""
PING_AFTER_IDLE = 1.0
"""Seconds after which a connection that was not used may be gone without a word: it is pinged."""
IDLE_IN_TRANSACTION_TIMEOUT = 60.0
"""Seconds without a word after which PostgreSQL ends a transaction, and with it its locks.

Whatever works within a transaction reads or writes something more often.
"""
TCP_KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 3, "keepalives_count": 3}
"""Seconds without a word after which a peer is asked whether it is there; how often, how long.

Source: https://www.postgresql.org/docs/current/libpq-connect.html
"""
LIBPQ_TIMEOUTS = {"connect_timeout": 3, "tcp_user_timeout": 10_000, **TCP_KEEPALIVE}
"""What goes to libpq: seconds to connect, milliseconds until what is sent has arrived."""


def engine_options(url: URL, threads: int) -> dict[str, Any]:
    """Return what the engine of a database is made with that so many threads use."""
    made: dict[str, Any] = {
        "pool_size": threads + POOL_HEADROOM,
        "max_overflow": 0,
        "pool_timeout": LOCK_TIMEOUT,
    }
    if url.get_backend_name() == "sqlite":
        if url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        return made | {"connect_args": {"timeout": LOCK_TIMEOUT, "check_same_thread": False}}
    # to switch the isolation level for each transaction would take longer than to begin it
    return made | {"isolation_level": "AUTOCOMMIT", "connect_args": _libpq_options(url)}


def install_hooks(engine: Engine) -> None:
    """Let an engine's connections be as the store wants them, and none that is gone be used."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_sqlite_pragmas)
    else:
        event.listen(engine, "checkin", _on_checkin)
        event.listen(engine, "checkout", _ping_on_checkout(engine))


def _libpq_options(url: URL) -> dict[str, Any]:
    waits = {
        "lock_timeout": int(LOCK_TIMEOUT * 1000),
        "idle_in_transaction_session_timeout": int(IDLE_IN_TRANSACTION_TIMEOUT * 1000),
        **{f"tcp_{name}": value for name, value in TCP_KEEPALIVE.items()},
    }
    options = [f"-c {name}={value}" for name, value in waits.items()]
    # who says it otherwise is later, and has the last word
    options += url.normalized_query.get("options", (os.environ.get("PGOPTIONS", ""),))
    ours = {name: value for name, value in LIBPQ_TIMEOUTS.items() if name not in url.query}
    return {**ours, "options": " ".join(options)}


def _set_sqlite_pragmas(connection: Any, _: Any) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()
    connection.create_function("epoch_us", 0, _epoch_us)


def _epoch_us() -> int:
    return time.time_ns() // 1000


def _ping_on_checkout(engine: Engine) -> Callable[..., None]:
    def see(connection: Any, record: ConnectionPoolEntry, _: Any) -> None:
        idle = time.monotonic() - record.info.get("idle_since", 0.0)
        if idle < PING_AFTER_IDLE and not _has_pending_data(connection):
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as lost:
            raise InvalidatePoolError from lost

    return see


def _has_pending_data(connection: Any) -> bool:
    # the server says nothing unasked but that it breaks off
    poll = sockets.poll()
    poll.register(connection, sockets.POLLIN)
    return bool(poll.poll(0))


def _on_checkin(_: Any, record: ConnectionPoolEntry) -> None:
    record.info["idle_since"] = time.monotonic()
