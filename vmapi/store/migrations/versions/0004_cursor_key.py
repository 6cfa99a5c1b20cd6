"""Keys that all processes share, and lists that are walked along their index."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

DELETED = sa.text("deleted_at IS NOT NULL")


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "keys",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_keys"),
    )
    op.drop_index("ix_vms_deleted_at", "vms")
    op.create_index(
        "ix_vms_deleted_at",
        "vms",
        ["deleted_at"],
        sqlite_where=DELETED,
        postgresql_where=DELETED,
    )
    op.drop_index("ix_vms_status", "vms")
    op.create_index("ix_vms_status_created_at_id", "vms", ["status", "created_at", "id"])


def downgrade() -> None:
    """Go back."""
    op.drop_index("ix_vms_status_created_at_id", "vms")
    op.create_index("ix_vms_status", "vms", ["status"])
    op.drop_index("ix_vms_deleted_at", "vms")
    op.create_index("ix_vms_deleted_at", "vms", ["deleted_at"])
    op.drop_table("keys")
