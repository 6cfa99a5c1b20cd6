"""The audit trail: which token an act was about, and what entries are found by."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

FOUND_BY = ("user", "project", "action", "vm_id", "request_id", "outcome")
OF_TOKENS = sa.text("token_id IS NOT NULL")


def upgrade() -> None:
    """Go forward."""
    op.add_column("audit_entries", sa.Column("token_id", sa.String(36)))
    for name in FOUND_BY:
        op.create_index(f"ix_audit_entries_{name}_id", "audit_entries", [name, "id"])
    op.create_index(
        "ix_audit_entries_token_id_id",
        "audit_entries",
        ["token_id", "id"],
        sqlite_where=OF_TOKENS,
        postgresql_where=OF_TOKENS,
    )


def downgrade() -> None:
    """Go back."""
    for name in (*FOUND_BY, "token_id"):
        op.drop_index(f"ix_audit_entries_{name}_id", "audit_entries")
    op.drop_column("audit_entries", "token_id")
