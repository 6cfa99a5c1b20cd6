"""Events."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

NEW = sa.text("number IS NULL")


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "events",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            nullable=False,
            autoincrement=True,
        ),
        sa.Column("number", sa.BigInteger),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("project", sa.String(64), nullable=False),
        sa.Column("vm_id", sa.String(36)),
        sa.Column("document", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sqlite_autoincrement=True,
    )
    op.create_index("uq_events_number", "events", ["number"], unique=True)
    op.create_index("ix_events_new", "events", ["id"], sqlite_where=NEW, postgresql_where=NEW)


def downgrade() -> None:
    """Go back."""
    op.drop_table("events")
