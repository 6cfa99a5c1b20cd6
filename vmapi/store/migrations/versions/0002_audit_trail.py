"""The audit trail, names that are claimed until their VM is gone, and duties."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

CLAIMED = sa.text("finished_at IS NULL AND claimed_name IS NOT NULL")
OPEN = sa.text("position IS NULL")


def upgrade() -> None:
    """Go forward."""
    # not by a new table in place of the old one: on SQLite the steps would go with the old one
    for name, default in (("project", "default"), ("address", "")):
        column = sa.Column(name, sa.String(64), nullable=False, server_default=default)
        op.add_column("operations", column)
    op.create_index("ix_operations_finished_at", "operations", ["finished_at"])
    _name_claims()
    op.drop_index("uq_operations_claimed_name", "operations")
    _audit_trail()
    op.create_table(
        "duties",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("owner", sa.String(36), nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_duties"),
    )


def downgrade() -> None:
    """Go back."""
    for table in ("duties", "audit_checkpoints", "audit_entries", "name_claims"):
        op.drop_table(table)
    op.drop_index("ix_operations_finished_at", "operations")
    for name in ("address", "project"):
        op.drop_column("operations", name)
    op.create_index(
        "uq_operations_claimed_name",
        "operations",
        ["claimed_name"],
        unique=True,
        sqlite_where=CLAIMED,
        postgresql_where=CLAIMED,
    )


def _name_claims() -> None:
    op.create_table(
        "name_claims",
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("operation_id", sa.String(36), nullable=False),
        sa.Column("vm_id", sa.String(36)),
        sa.PrimaryKeyConstraint("project", "name", name="pk_name_claims"),
    )
    op.create_index("ix_name_claims_operation_id", "name_claims", ["operation_id"])
    op.create_index("ix_name_claims_vm_id", "name_claims", ["vm_id"])
    op.execute(
        "INSERT INTO name_claims (project, name, operation_id, vm_id) "
        "SELECT project, claimed_name, id, vm_id FROM operations "
        "WHERE finished_at IS NULL AND claimed_name IS NOT NULL"
    )


def _audit_trail() -> None:
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "audit_entries",
        sa.Column("id", number, nullable=False, autoincrement=True),
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
        sa.Column("position", sa.BigInteger),
        sa.Column("mac", sa.String(64)),
        sa.PrimaryKeyConstraint("id", name="pk_audit_entries"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_entries_at", "audit_entries", ["at"])
    op.create_index(
        "ix_audit_entries_open",
        "audit_entries",
        ["id"],
        sqlite_where=OPEN,
        postgresql_where=OPEN,
    )
    op.create_index("uq_audit_entries_position", "audit_entries", ["position"], unique=True)
    op.create_table(
        "audit_checkpoints",
        sa.Column("position", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("mac", sa.String(64), nullable=False),
        sa.Column("seal", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("position", name="pk_audit_checkpoints"),
    )
