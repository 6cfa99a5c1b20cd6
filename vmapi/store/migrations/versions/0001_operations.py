"""Operations and their steps."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ONE_AT_A_TIME = sa.text("finished_at IS NULL AND action <> 'delete'")
CLAIMED = sa.text("finished_at IS NULL AND claimed_name IS NOT NULL")
UNFINISHED = sa.text("finished_at IS NULL")


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "operations",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("vm_id", sa.String(36)),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("claimed_name", sa.String(63)),
        sa.Column("idempotency_caller", sa.String(255)),
        sa.Column("idempotency_key", sa.String(300)),
        sa.Column("fingerprint", sa.String(64)),
        sa.Column("changes", sa.JSON),
        sa.Column("error", sa.JSON),
        sa.Column("requested_by", sa.String(255), nullable=False),
        sa.Column("request_id", sa.String(255), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("lease_owner", sa.String(36)),
        sa.Column("lease_until", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_operations"),
    )
    op.create_index("ix_operations_newest", "operations", ["created_at", "id"])
    op.create_index("ix_operations_vm_id_created_at", "operations", ["vm_id", "created_at"])
    _partial("ix_operations_unfinished", "created_at", UNFINISHED, unique=False)
    _partial("uq_operations_unfinished_vm_id", "vm_id", ONE_AT_A_TIME, unique=True)
    _partial("uq_operations_claimed_name", "claimed_name", CLAIMED, unique=True)
    op.create_index(
        "uq_operations_idempotency_key",
        "operations",
        ["idempotency_caller", "idempotency_key"],
        unique=True,
    )
    op.create_table(
        "steps",
        sa.Column("operation_id", sa.String(36), nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("verb", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("request_id", sa.String(255)),
        sa.Column("begun_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("operation_id", "position", name="pk_steps"),
        sa.ForeignKeyConstraint(
            ["operation_id"],
            ["operations.id"],
            name="fk_steps_operation_id",
            ondelete="CASCADE",
        ),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("steps")
    op.drop_table("operations")


def _partial(name: str, column: str, where: sa.TextClause, *, unique: bool) -> None:
    op.create_index(
        name, "operations", [column], unique=unique, sqlite_where=where, postgresql_where=where
    )
