"""Times in the database: whole microseconds since 1970 in UTC."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Dialect
from sqlalchemy.types import TypeDecorator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


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
