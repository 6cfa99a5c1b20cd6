"""Operations whose first step only who has asked for them may send."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Go forward."""
    column = sa.Column("as_requester", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("operations", column)


def downgrade() -> None:
    """Go back."""
    op.drop_column("operations", "as_requester")
