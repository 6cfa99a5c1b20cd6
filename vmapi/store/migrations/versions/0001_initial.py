"""Create the tables of version 0.1.0."""

import sqlalchemy as sa
from alembic import op

revision = "0001_initial"
down_revision = None

SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")
ORDERED_NAME = sa.String(255).with_variant(sa.String(255, collation="C"), "postgresql")


def upgrade() -> None:
    """Apply the migration."""
    _create_operations()
    _create_bulk_operations()
    _create_name_reservations()
    _create_vms()
    _create_sync_state()
    _create_events()
    _create_leader_leases()
    _create_audit_entries()
    _create_audit_checkpoints()
    _create_api_tokens()
    _create_signing_keys()


def _create_operations() -> None:
    op.create_table(
        "operations",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("vm_id", sa.String(36)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("reserved_name", sa.String(63)),
        sa.Column("idempotency_project", sa.String(64)),
        sa.Column("idempotency_caller", sa.String(255)),
        sa.Column("idempotency_key", sa.String(300)),
        sa.Column("fingerprint", sa.String(64)),
        sa.Column("freed_key", sa.JSON),
        sa.Column("patch", sa.JSON),
        sa.Column("error", sa.JSON),
        sa.Column("requested_by", sa.String(255), nullable=False),
        sa.Column("project", sa.String(64), nullable=False, server_default="default"),
        sa.Column("address", sa.String(64), nullable=False, server_default=""),
        sa.Column("request_id", sa.String(255), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("lease_owner", sa.String(36)),
        sa.Column("lease_expires_at", sa.BigInteger),
        sa.Column("vcpus", sa.Integer),
        sa.Column("ram_mb", sa.Integer),
        sa.Column("create_order", sa.JSON),
        sa.Column("is_recovered", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("is_vm_disclosed", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("is_delegated", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("steps", sa.JSON, nullable=False, server_default="[]"),
        sa.Column("bulk_id", sa.String(36)),
        sa.Column("traceparent", sa.String(64)),
        sa.Column("failed_attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("defects", sa.Integer, nullable=False, server_default="0"),
        sa.Column("last_failure", sa.JSON),
        sa.Column("last_failed_at", sa.BigInteger),
        sa.Column("retry_requested_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_operations"),
    )
    _create_partial_index(
        "ix_operations_bulk_id_finished_at",
        "operations",
        ["bulk_id", "finished_at"],
        "bulk_id IS NOT NULL",
    )
    op.create_index("ix_operations_finished_at", "operations", ["finished_at"])
    op.create_index("ix_operations_newest", "operations", ["created_at", "id"])
    op.create_index(
        "ix_operations_project_created_at_id", "operations", ["project", "created_at", "id"]
    )
    _create_partial_index(
        "ix_operations_unfinished", "operations", ["created_at"], "finished_at IS NULL"
    )
    op.create_index(
        "ix_operations_request_id_created_at_id",
        "operations",
        ["request_id", "created_at", "id"],
    )
    op.create_index("ix_operations_vm_id_created_at", "operations", ["vm_id", "created_at"])
    op.create_index(
        "uq_operations_idempotency_key",
        "operations",
        ["idempotency_project", "idempotency_caller", "idempotency_key"],
        unique=True,
    )
    _create_partial_index(
        "uq_operations_unfinished_vm_id",
        "operations",
        ["vm_id"],
        "finished_at IS NULL AND action <> 'delete'",
        unique=True,
    )


def _create_bulk_operations() -> None:
    op.create_table(
        "bulk_operations",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("items", sa.JSON, nullable=False),
        sa.Column("idempotency_project", sa.String(64)),
        sa.Column("idempotency_caller", sa.String(255)),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("fingerprint", sa.String(64)),
        sa.Column("requested_by", sa.String(255), nullable=False),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(255), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_bulk_operations"),
    )
    op.create_index("ix_bulk_operations_created_at", "bulk_operations", ["created_at"])
    op.create_index(
        "uq_bulk_operations_idempotency_key",
        "bulk_operations",
        ["idempotency_project", "idempotency_caller", "idempotency_key"],
        unique=True,
    )


def _create_name_reservations() -> None:
    op.create_table(
        "name_reservations",
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("operation_id", sa.String(36), nullable=False),
        sa.Column("vm_id", sa.String(36)),
        sa.PrimaryKeyConstraint("project", "name", name="pk_name_reservations"),
    )
    op.create_index("ix_name_reservations_operation_id", "name_reservations", ["operation_id"])
    op.create_index("ix_name_reservations_vm_id", "name_reservations", ["vm_id"])


def _create_vms() -> None:
    op.create_table(
        "vms",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", ORDERED_NAME, nullable=False),
        sa.Column("flavor", ORDERED_NAME, nullable=False),
        sa.Column("image", ORDERED_NAME),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("task", sa.String(16)),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("deleted_at", sa.BigInteger),
        sa.Column("operation_id", sa.String(36)),
        sa.Column("observed", sa.JSON, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("observation_started_at", sa.BigInteger, nullable=False),
        sa.Column("observation_finished_at", sa.BigInteger, nullable=False),
        sa.Column("min_observed_at", sa.BigInteger, nullable=False),
        sa.Column("project", sa.String(64)),
        sa.Column("vcpus", sa.Integer),
        sa.Column("ram_mb", sa.Integer),
        sa.PrimaryKeyConstraint("id", name="pk_vms"),
    )
    op.create_index("ix_vms_created_at_id", "vms", ["created_at", "id"])
    _create_partial_index("ix_vms_deleted_at", "vms", ["deleted_at"], "deleted_at IS NOT NULL")
    op.create_index("ix_vms_name_id", "vms", ["name", "id"])
    op.create_index("ix_vms_operation_id", "vms", ["operation_id"])
    op.create_index("ix_vms_project_created_at_id", "vms", ["project", "created_at", "id"])
    op.create_index("ix_vms_project_name_id", "vms", ["project", "name", "id"])
    op.create_index("ix_vms_project_updated_at_id", "vms", ["project", "updated_at", "id"])
    op.create_index("ix_vms_status_created_at_id", "vms", ["status", "created_at", "id"])
    op.create_index("ix_vms_updated_at_id", "vms", ["updated_at", "id"])
    _create_partial_index(
        "ix_vms_usage",
        "vms",
        ["project", "vcpus", "ram_mb", "deleted_at"],
        "deleted_at IS NULL AND project <> ''",
    )


def _create_sync_state() -> None:
    op.create_table(
        "sync_state",
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("kind", name="pk_sync_state"),
    )


def _create_events() -> None:
    op.create_table(
        "events",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("sequence", sa.BigInteger),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("vm_id", sa.String(36)),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sqlite_autoincrement=True,
    )
    _create_partial_index("ix_events_unsequenced", "events", ["id"], "sequence IS NULL")
    op.create_index("uq_events_sequence", "events", ["sequence"], unique=True)


def _create_leader_leases() -> None:
    op.create_table(
        "leader_leases",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("owner", sa.String(36), nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("process", sa.String(255)),
        sa.PrimaryKeyConstraint("name", name="pk_leader_leases"),
    )


def _create_audit_entries() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("id", SERIAL, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("user", sa.String(255), nullable=False),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("vm_id", sa.String(36)),
        sa.Column("operation_id", sa.String(36)),
        sa.Column("request_id", sa.String(255), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("code", sa.String(64)),
        sa.Column("chain_position", sa.BigInteger),
        sa.Column("mac", sa.String(64)),
        sa.Column("token_id", sa.String(36)),
        sa.Column("reason", sa.String(300)),
        sa.PrimaryKeyConstraint("id", name="pk_audit_entries"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_entries_action_id", "audit_entries", ["action", "id"])
    op.create_index("ix_audit_entries_at", "audit_entries", ["at"])
    op.create_index("ix_audit_entries_outcome_id", "audit_entries", ["outcome", "id"])
    op.create_index("ix_audit_entries_project_id", "audit_entries", ["project", "id"])
    op.create_index("ix_audit_entries_request_id_id", "audit_entries", ["request_id", "id"])
    _create_partial_index(
        "ix_audit_entries_token_id_id", "audit_entries", ["token_id", "id"], "token_id IS NOT NULL"
    )
    _create_partial_index(
        "ix_audit_entries_unchained", "audit_entries", ["id"], "chain_position IS NULL"
    )
    op.create_index("ix_audit_entries_user_id", "audit_entries", ["user", "id"])
    op.create_index("ix_audit_entries_vm_id_id", "audit_entries", ["vm_id", "id"])
    op.create_index(
        "uq_audit_entries_chain_position", "audit_entries", ["chain_position"], unique=True
    )


def _create_audit_checkpoints() -> None:
    op.create_table(
        "audit_checkpoints",
        sa.Column("chain_position", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("mac", sa.String(64), nullable=False),
        sa.Column("signature", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("chain_position", name="pk_audit_checkpoints"),
    )


def _create_api_tokens() -> None:
    op.create_table(
        "api_tokens",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
        sa.Column("last_used_at", sa.BigInteger),
        sa.Column("is_revoked", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("id", name="pk_api_tokens"),
    )
    op.create_index("uq_api_tokens_digest", "api_tokens", ["digest"], unique=True)


def _create_signing_keys() -> None:
    op.create_table(
        "signing_keys",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_signing_keys"),
    )


def _create_partial_index(
    name: str, table: str, columns: list[str], where: str, *, unique: bool = False
) -> None:
    predicate = sa.text(where)
    op.create_index(
        name,
        table,
        columns,
        unique=unique,
        sqlite_where=predicate,
        postgresql_where=predicate,
    )
