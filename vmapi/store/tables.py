"""The tables of the database: one definition for SQLite and PostgreSQL.

The first migration creates the same schema; a test compares the two. Every time is a whole number
of microseconds since 1970 in UTC. Unique indexes hold the rules that concurrent writers must not
break: one unfinished operation per VM, one holder per name, one operation per idempotency key.
"""

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    TextClause,
    event,
    false,
    text,
)

from vmapi.store.clock import EpochMicros

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)

SERIAL = BigInteger().with_variant(Integer, "sqlite")
ORDERED_NAME = String(255).with_variant(String(255, collation="C"), "postgresql")
"""Names sort by code point on both databases."""

PARTIAL_INDEX_CONDITION = "condition"
"""The key of the condition in the info of a partial index."""

IDEMPOTENCY_COLUMNS = ("idempotency_project", "idempotency_caller", "idempotency_key")
SIZE_COLUMNS = ("vcpus", "ram_mb")
SORT_COLUMNS = ("created_at", "updated_at", "name")
AUDIT_FILTER_COLUMNS = ("user", "project", "action", "vm_id", "request_id", "outcome")
"""Columns that the audit API filters by, newest entry first."""


USAGE_CONDITION = "deleted_at IS NULL AND project <> ''"
"""The VMs that a quota counts. No query of lists has this condition."""


def _partial_index(name: str, *columns: str, where: TextClause, unique: bool = False) -> Index:
    # the arguments sqlite_where and postgresql_where would load both dialects
    return Index(name, *columns, unique=unique, info={PARTIAL_INDEX_CONDITION: where})


@event.listens_for(metadata, "before_create")
def _set_conditions(_: MetaData, connection: Connection, **__: Any) -> None:
    """Set the condition of each partial index for the dialect of the connection."""
    for index in (index for table in metadata.sorted_tables for index in table.indexes):
        if PARTIAL_INDEX_CONDITION in index.info:
            options = index.dialect_options[connection.dialect.name]
            options["where"] = index.info[PARTIAL_INDEX_CONDITION]


operations = Table(
    "operations",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("action", String(16), nullable=False),
    Column("vm_id", String(36)),
    Column("status", String(16), nullable=False),
    Column("reserved_name", String(63)),
    Column("idempotency_project", String(64)),
    Column("idempotency_caller", String(255)),
    Column("idempotency_key", String(300)),
    Column("fingerprint", String(64)),
    Column("freed_key", JSON),
    Column("patch", JSON),
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
    Column("lease_expires_at", BigInteger),
    *(Column(name, Integer) for name in SIZE_COLUMNS),
    Column("is_delegated", Boolean, nullable=False, server_default=false()),
    Column("create_order", JSON),
    Column("is_recovered", Boolean, nullable=False, server_default=false()),
    Column("is_vm_disclosed", Boolean, nullable=False, server_default=false()),
    Column("steps", JSON, nullable=False, server_default="[]"),
    Column("bulk_id", String(36)),
    Column("traceparent", String(64)),
    Column("failed_attempts", Integer, nullable=False, server_default="0"),
    Column("defects", Integer, nullable=False, server_default="0"),
    Column("last_failure", JSON),
    Column("last_failed_at", EpochMicros),
    Column("retry_requested_at", EpochMicros),
    Index("ix_operations_newest", "created_at", "id"),
    Index("ix_operations_project_created_at_id", "project", "created_at", "id"),
    Index("ix_operations_vm_id_created_at", "vm_id", "created_at"),
    Index("ix_operations_finished_at", "finished_at"),
    _partial_index("ix_operations_unfinished", "created_at", where=text("finished_at IS NULL")),
    _partial_index(
        "uq_operations_unfinished_vm_id",
        "vm_id",
        where=text("finished_at IS NULL AND action <> 'delete'"),
        unique=True,
    ),
    Index("uq_operations_idempotency_key", *IDEMPOTENCY_COLUMNS, unique=True),
    Index("ix_operations_request_id_created_at_id", "request_id", "created_at", "id"),
    _partial_index(
        "ix_operations_bulk_id_finished_at",
        *("bulk_id", "finished_at"),
        where=text("bulk_id IS NOT NULL"),
    ),
)

IS_UNFINISHED = operations.c.finished_at.is_(None)
HAS_NO_VM = operations.c.vm_id.is_(None)
"""True for a create without a response from the cloud: its VM carries the operation id as a tag."""

bulk_operations = Table(
    "bulk_operations",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("action", String(16), nullable=False),
    Column("items", JSON, nullable=False),
    Column("idempotency_project", String(64)),
    Column("idempotency_caller", String(255)),
    Column("idempotency_key", String(255)),
    Column("fingerprint", String(64)),
    Column("requested_by", String(255), nullable=False),
    Column("project", String(64), nullable=False),
    Column("request_id", String(255), nullable=False),
    Column("created_at", EpochMicros, nullable=False),
    Index("ix_bulk_operations_created_at", "created_at"),
    Index("uq_bulk_operations_idempotency_key", *IDEMPOTENCY_COLUMNS, unique=True),
)

name_reservations = Table(
    "name_reservations",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("name", String(63), primary_key=True),
    Column("operation_id", String(36), nullable=False),
    Column("vm_id", String(36)),
    Index("ix_name_reservations_operation_id", "operation_id"),
    Index("ix_name_reservations_vm_id", "vm_id"),
)

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
    Column("observation_started_at", BigInteger, nullable=False),
    Column("observation_finished_at", BigInteger, nullable=False),
    Column("min_observed_at", BigInteger, nullable=False),
    Column("project", String(64)),
    *(Column(name, Integer) for name in SIZE_COLUMNS),
    *(Index(f"ix_vms_{name}_id", name, "id") for name in SORT_COLUMNS),
    *(Index(f"ix_vms_project_{name}_id", "project", name, "id") for name in SORT_COLUMNS),
    Index("ix_vms_status_created_at_id", "status", "created_at", "id"),
    # deleted rows only: with an index on live rows SQLite would search by it and sort the result
    _partial_index("ix_vms_deleted_at", "deleted_at", where=text("deleted_at IS NOT NULL")),
    Index("ix_vms_operation_id", "operation_id"),
    # for the sums of a quota alone: a list that it answered would have to be sorted
    _partial_index(
        "ix_vms_usage", *("project", *SIZE_COLUMNS, "deleted_at"), where=text(USAGE_CONDITION)
    ),
)

sync_state = Table(
    "sync_state",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("started_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger),
)

events = Table(
    "events",
    metadata,
    Column("id", SERIAL, primary_key=True),
    Column("sequence", BigInteger),
    Column("at", EpochMicros, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("project", String(64), nullable=False),
    Column("vm_id", String(36)),
    Column("payload", JSON, nullable=False),
    Index("uq_events_sequence", "sequence", unique=True),
    _partial_index("ix_events_unsequenced", "id", where=text("sequence IS NULL")),
    sqlite_autoincrement=True,
)

leader_leases = Table(
    "leader_leases",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("owner", String(36), nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("process", String(255)),
)

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("id", SERIAL, primary_key=True),
    Column("at", EpochMicros, nullable=False),
    Column("user", String(255), nullable=False),
    Column("project", String(64), nullable=False),
    Column("address", String(64), nullable=False),
    Column("action", String(16), nullable=False),
    Column("vm_id", String(36)),
    Column("operation_id", String(36)),
    Column("request_id", String(255), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("code", String(64)),
    Column("chain_position", BigInteger),
    Column("mac", String(64)),
    Column("token_id", String(36)),
    Column("reason", String(300)),
    Index("ix_audit_entries_at", "at"),
    *(Index(f"ix_audit_entries_{name}_id", name, "id") for name in AUDIT_FILTER_COLUMNS),
    _partial_index(
        "ix_audit_entries_token_id_id", "token_id", "id", where=text("token_id IS NOT NULL")
    ),
    _partial_index("ix_audit_entries_unchained", "id", where=text("chain_position IS NULL")),
    Index("uq_audit_entries_chain_position", "chain_position", unique=True),
    sqlite_autoincrement=True,
)

audit_checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("chain_position", BigInteger, primary_key=True, autoincrement=False),
    Column("mac", String(64), nullable=False),
    Column("signature", String(64), nullable=False),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("role", String(16), nullable=False),
    Column("project", String(64), nullable=False),
    Column("created_at", EpochMicros, nullable=False),
    Column("expires_at", EpochMicros),
    Column("revoked_at", EpochMicros),
    Column("last_used_at", EpochMicros),
    Column("is_revoked", Boolean, nullable=False, server_default=false()),
    Index("uq_api_tokens_digest", "digest", unique=True),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("key", String(64), nullable=False),
)
