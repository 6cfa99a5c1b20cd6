"""${message}."""

import sqlalchemy as sa
from alembic import op

revision = "${up_revision}"
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Add what this version needs. Older processes serve meanwhile."""
    ${upgrades if upgrades else "pass"}


def contract() -> None:
    """Remove what only older versions need. Delete this function if there is nothing."""
