"""Projects: whose a VM is, what it takes, and in which project an idempotency key is bound."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

KEY = "uq_operations_idempotency_key"
SIZES = ("vcpus", "ram_mb")
ORDERS = (
    ("operations", "created_at"),
    ("vms", "created_at"),
    ("vms", "updated_at"),
    ("vms", "name"),
)


def upgrade() -> None:
    """Go forward."""
    for table in ("operations", "vms"):
        for name in SIZES:
            op.add_column(table, sa.Column(name, sa.Integer))
    op.add_column("vms", sa.Column("project", sa.String(64)))
    # until they are seen again, all are whose they were
    op.execute("UPDATE vms SET project = 'default'")
    op.add_column("operations", sa.Column("idempotency_project", sa.String(64)))
    op.execute(
        "UPDATE operations SET idempotency_project = project WHERE idempotency_key IS NOT NULL"
    )
    _bind_keys("idempotency_project", "idempotency_caller", "idempotency_key")
    for table, column in ORDERS:
        op.create_index(f"ix_{table}_project_{column}_id", table, ["project", column, "id"])


def downgrade() -> None:
    """Go back."""
    for table, column in ORDERS:
        op.drop_index(f"ix_{table}_project_{column}_id", table)
    _bind_keys("idempotency_caller", "idempotency_key")
    op.drop_column("operations", "idempotency_project")
    op.drop_column("vms", "project")
    for table in ("operations", "vms"):
        for name in SIZES:
            op.drop_column(table, name)


def _bind_keys(*columns: str) -> None:
    op.drop_index(KEY, "operations")
    op.create_index(KEY, "operations", list(columns), unique=True)
