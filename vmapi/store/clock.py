"""Times in the database, in whole microseconds since 1970, and the clock that all processes share.

Leases, event sequences and observation times use it. It can be set back: a time that a wrong clock
has written is then in the future, and proves nothing.
"""

import time
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, Dialect, case, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import TypeDecorator

from vmapi.domain.timestamps import EPOCH, MICROSECOND

CLOCK_STEP_TOLERANCE_US = 1_000_000
"""Microseconds by which the clock may be set back without an effect."""

FUTURE_TIME_AGE_US = 86_400_000_000
"""The age, in microseconds, of a row with a time in the future: a day, too old for any reader."""


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


def to_epoch_us(time: datetime | None) -> int | None:
    """Return a time in microseconds since 1970."""
    return None if time is None else (time - EPOCH) // MICROSECOND


def from_epoch_us(microseconds: int | None) -> datetime | None:
    """Return the time of a number of microseconds since 1970."""
    return None if microseconds is None else EPOCH + microseconds * MICROSECOND


class EpochMicros(TypeDecorator[datetime]):
    """A column of aware times, stored as microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Return the number to store."""
        return to_epoch_us(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Return the stored time."""
        return from_epoch_us(value)


def to_seconds(microseconds: int) -> float:
    """Return a duration in seconds, never below zero."""
    return max(microseconds, 0) / 1_000_000


def sqlite_time() -> int:
    """Return the time of SQLite's clock, in microseconds since 1970: that of this machine."""
    return time.time_ns() // 1000


def db_time(connection: Connection) -> int:
    """Return the time of the database's clock, in microseconds since 1970."""
    if connection.dialect.name == "sqlite":
        return sqlite_time()
    return int(connection.execute(select(db_now())).scalar_one())


def past_time(time: int, now: int) -> int:
    """Return a stored time; for one in the future, the time of `FUTURE_TIME_AGE_US` ago."""
    return time if time <= now + CLOCK_STEP_TOLERANCE_US else now - FUTURE_TIME_AGE_US


def sql_past_time(column: ColumnElement[int]) -> ColumnElement[int]:
    """Return `past_time` of a column in SQL."""
    is_future = column > db_now() + CLOCK_STEP_TOLERANCE_US
    return case((is_future, db_now() - FUTURE_TIME_AGE_US), else_=column)


def sql_is_expired(expires_at: ColumnElement[int], duration_us: int) -> ColumnElement[bool]:
    """Return whether a lease of a duration has expired, or is from the future."""
    latest = db_now() + duration_us + CLOCK_STEP_TOLERANCE_US
    return (expires_at < db_now()) | (expires_at > latest)
