"""The tables of who is let in, and of the keys that are signed with."""

from sqlalchemy import Column, Index, String, Table

from vmapi.store.audit_tables import metadata
from vmapi.store.types import Moment

__all__ = ["api_tokens", "keys", "metadata"]

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("role", String(16), nullable=False),
    Column("project", String(64), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
    Column("last_used_at", Moment),
    Index("uq_api_tokens_digest", "digest", unique=True),
)

keys = Table(
    "keys",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("key", String(64), nullable=False),
)
