"""The database's clock: the one clock that all processes share.

Leases, event sequences and observation times use it. It can be set back: a time that a wrong clock
has written is then in the future, and proves nothing.
"""

from typing import Any

from sqlalchemy import BigInteger, Connection, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement


class db_now(FunctionElement[int]):
    """The database's clock in SQL, in microseconds since 1970."""

    type = BigInteger()
    inherit_cache = True


@compiles(db_now, "sqlite")
def _db_now_sqlite(*_: Any, **__: Any) -> str:
    # a function of the connection: SQLite's own time has a resolution of 1 ms
    return "epoch_us()"


@compiles(db_now, "postgresql")
def _db_now_postgresql(*_: Any, **__: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)"


def db_time(connection: Connection) -> int:
    """Return the time of the database's clock, in microseconds since 1970."""
    return int(connection.execute(select(db_now())).scalar_one())
