"""The tables. Times are microseconds since 1970 in UTC, the same on every database."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    false,
    text,
)

from vmapi.store.types import EpochMicros

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

IS_UNFINISHED_TEXT = text("finished_at IS NULL")
IS_EXCLUSIVE_TEXT = text("finished_at IS NULL AND action <> 'delete'")
IS_DELETED_TEXT = text("deleted_at IS NOT NULL")
IS_UNSEQUENCED_TEXT = text("number IS NULL")
SERIAL = BigInteger().with_variant(Integer, "sqlite")

IDEMPOTENCY_COLUMNS = ("idempotency_project", "idempotency_caller", "idempotency_key")
SIZE_COLUMNS = ("vcpus", "ram_mb")
SORT_COLUMNS = ("created_at", "updated_at", "name")

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
    Column("idempotency_project", String(64)),
    Column("changes", JSON),
    Column("error", JSON),
    Column("requested_by", String(255), nullable=False),
    Column("project", String(64), nullable=False, server_default="default"),
    Column("address", String(64), nullable=False, server_default=""),
    Column("request_id", String(255), nullable=False),
    Column("created_at", EpochMicros, nullable=False),
    Column("started_at", EpochMicros),
    Column("finished_at", EpochMicros),
    Column("revision", Integer, nullable=False),
    Column("lease_owner", String(36)),
    Column("lease_until", BigInteger),
    *(Column(name, Integer) for name in SIZE_COLUMNS),
    Column("as_requester", Boolean, nullable=False, server_default=false()),
    Column("plan", JSON, nullable=False, server_default="[]"),
    Index("ix_operations_newest", "created_at", "id"),
    Index("ix_operations_project_created_at_id", "project", "created_at", "id"),
    Index("ix_operations_vm_id_created_at", "vm_id", "created_at"),
    Index("ix_operations_finished_at", "finished_at"),
    Index(
        "ix_operations_unfinished",
        "created_at",
        sqlite_where=IS_UNFINISHED_TEXT,
        postgresql_where=IS_UNFINISHED_TEXT,
    ),
    Index(
        "uq_operations_unfinished_vm_id",
        "vm_id",
        unique=True,
        sqlite_where=IS_EXCLUSIVE_TEXT,
        postgresql_where=IS_EXCLUSIVE_TEXT,
    ),
    Index("uq_operations_idempotency_key", *IDEMPOTENCY_COLUMNS, unique=True),
)

bulk_requests = Table(
    "bulk_requests",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("caller", String(255), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("vm_ids", JSON, nullable=False),
    Column("created_at", EpochMicros, nullable=False),
)

name_reservations = Table(
    "name_claims",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("name", String(63), primary_key=True),
    Column("operation_id", String(36), nullable=False),
    Column("vm_id", String(36)),
    Index("ix_name_claims_operation_id", "operation_id"),
    Index("ix_name_claims_vm_id", "vm_id"),
)

leader_leases = Table(
    "duties",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("owner", String(36), nullable=False),
    Column("until", BigInteger, nullable=False),
)

ORDERED_NAME = String(255).with_variant(String(255, collation="C"), "postgresql")
"""Names are ordered by code point on every database."""

vms = Table(
    "vms",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", ORDERED_NAME, nullable=False),
    Column("flavor", ORDERED_NAME, nullable=False),
    Column("image", ORDERED_NAME),
    Column("status", String(16), nullable=False),
    Column("task", String(16)),
    Column("created_at", EpochMicros, nullable=False),
    Column("updated_at", EpochMicros, nullable=False),
    Column("deleted_at", EpochMicros),
    Column("operation_id", String(36)),
    Column("observed", JSON, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("begun", BigInteger, nullable=False),
    Column("finished", BigInteger, nullable=False),
    Column("floor", BigInteger, nullable=False),
    Column("project", String(64)),
    *(Column(name, Integer) for name in SIZE_COLUMNS),
    *(Index(f"ix_vms_{name}_id", name, "id") for name in SORT_COLUMNS),
    *(Index(f"ix_vms_project_{name}_id", "project", name, "id") for name in SORT_COLUMNS),
    Index("ix_vms_status_created_at_id", "status", "created_at", "id"),
    # not for those that are not deleted: SQLite would find them by it, and then sort them
    Index(
        "ix_vms_deleted_at",
        "deleted_at",
        sqlite_where=IS_DELETED_TEXT,
        postgresql_where=IS_DELETED_TEXT,
    ),
    Index("ix_vms_operation_id", "operation_id"),
)

sync_state = Table(
    "syncs",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("begun", BigInteger, nullable=False),
)

events = Table(
    "events",
    metadata,
    Column("id", SERIAL, primary_key=True),
    Column("number", BigInteger),
    Column("at", EpochMicros, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("project", String(64), nullable=False),
    Column("vm_id", String(36)),
    Column("document", JSON, nullable=False),
    Index("uq_events_number", "number", unique=True),
    Index(
        "ix_events_new",
        "id",
        sqlite_where=IS_UNSEQUENCED_TEXT,
        postgresql_where=IS_UNSEQUENCED_TEXT,
    ),
    sqlite_autoincrement=True,
)

IS_UNFINISHED = operations.c.finished_at.is_(None)
HAS_NO_VM = operations.c.vm_id.is_(None)
"""Of a create that is not answered yet, or never was: its VM has its id for a mark."""
