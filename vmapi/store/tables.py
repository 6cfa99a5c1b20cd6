"""The tables. Times are microseconds since 1970 in UTC, the same on every database."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    text,
)
from sqlalchemy.types import TypeDecorator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Moment(TypeDecorator[datetime]):
    """An aware time, kept as microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Return what is kept."""
        return None if value is None else (value - EPOCH) // MICROSECOND

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Return what was meant."""
        return None if value is None else EPOCH + value * MICROSECOND


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

UNFINISHED = text("finished_at IS NULL")
ONE_AT_A_TIME = text("finished_at IS NULL AND action <> 'delete'")
CLAIMED = text("finished_at IS NULL AND claimed_name IS NOT NULL")

operations = Table(
    "operations",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("action", String(16), nullable=False),
    Column("vm_id", String(36)),
    Column("status", String(16), nullable=False),
    Column("claimed_name", String(63)),
    Column("idempotency_caller", String(255)),
    Column("idempotency_key", String(300)),
    Column("fingerprint", String(64)),
    Column("changes", JSON),
    Column("error", JSON),
    Column("requested_by", String(255), nullable=False),
    Column("request_id", String(255), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("finished_at", Moment),
    Column("revision", Integer, nullable=False),
    Column("lease_owner", String(36)),
    Column("lease_until", BigInteger),
    Index("ix_operations_newest", "created_at", "id"),
    Index("ix_operations_vm_id_created_at", "vm_id", "created_at"),
    Index(
        "ix_operations_unfinished",
        "created_at",
        sqlite_where=UNFINISHED,
        postgresql_where=UNFINISHED,
    ),
    Index(
        "uq_operations_unfinished_vm_id",
        "vm_id",
        unique=True,
        sqlite_where=ONE_AT_A_TIME,
        postgresql_where=ONE_AT_A_TIME,
    ),
    Index(
        "uq_operations_claimed_name",
        "claimed_name",
        unique=True,
        sqlite_where=CLAIMED,
        postgresql_where=CLAIMED,
    ),
    Index("uq_operations_idempotency_key", "idempotency_caller", "idempotency_key", unique=True),
)

steps = Table(
    "steps",
    metadata,
    Column("operation_id", ForeignKey(operations.c.id, ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("verb", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("request_id", String(255)),
    Column("begun_at", Moment),
)
