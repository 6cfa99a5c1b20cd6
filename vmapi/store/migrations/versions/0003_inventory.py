"""The inventory of VMs."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

NAME = sa.String(255).with_variant(sa.String(255, collation="C"), "postgresql")


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "vms",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("flavor", NAME, nullable=False),
        sa.Column("image", NAME),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("task", sa.String(16)),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("deleted_at", sa.BigInteger),
        sa.Column("operation_id", sa.String(36)),
        sa.Column("observed", sa.JSON, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("begun", sa.BigInteger, nullable=False),
        sa.Column("finished", sa.BigInteger, nullable=False),
        sa.Column("floor", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_vms"),
    )
    for columns in (("created_at", "id"), ("updated_at", "id"), ("name", "id")):
        op.create_index(f"ix_vms_{'_'.join(columns)}", "vms", list(columns))
    for column in ("status", "deleted_at", "operation_id"):
        op.create_index(f"ix_vms_{column}", "vms", [column])
    op.create_table(
        "syncs",
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("begun", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("kind", name="pk_syncs"),
    )


def downgrade() -> None:
    """Go back."""
    op.drop_table("syncs")
    op.drop_table("vms")
