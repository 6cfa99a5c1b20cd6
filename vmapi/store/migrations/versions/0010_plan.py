"""Steps are kept in the row of their operation, as its plan."""

from itertools import groupby

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

MEMBERS = ("verb", "state", "request_id", "begun_at")

operations = sa.table("operations", sa.column("id"), sa.column("plan", sa.JSON))
steps = sa.table("steps", *map(sa.column, ("operation_id", "position", *MEMBERS)))


def upgrade() -> None:
    """Go forward."""
    plan = sa.Column("plan", sa.JSON, nullable=False, server_default="[]")
    op.add_column("operations", plan)
    keep = operations.update().where(operations.c.id == sa.bindparam("of"))
    keep = keep.values(plan=sa.bindparam("plan", type_=sa.JSON))
    found = op.get_bind().execute(sa.select(steps).order_by(*steps.c[:2])).all()
    plans = [
        {"of": of, "plan": [{name: getattr(step, name) for name in MEMBERS} for step in group]}
        for of, group in groupby(found, lambda step: step.operation_id)
    ]
    if plans:
        op.get_bind().execute(keep, plans)
    op.drop_table("steps")


def downgrade() -> None:
    """Go back."""
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
    found = op.get_bind().execute(sa.select(operations)).all()
    rows = [
        {"operation_id": of, "position": position, **step}
        for of, plan in found
        for position, step in enumerate(plan)
    ]
    if rows:
        op.get_bind().execute(steps.insert(), rows)
    op.drop_column("operations", "plan")
