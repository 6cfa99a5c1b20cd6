"""The tables of who is let in, and of the keys that are signed with."""

from sqlalchemy import Column, Index, String, Table

from vmapi.store.audit_tables import metadata
from vmapi.store.types import EpochMicros

__all__ = ["api_tokens", "metadata", "signing_keys"]

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("subject", String(255), nullable=False),
    Column("role", String(16), nullable=False),
    Column("project", String(64), nullable=False),
    Column("created_at", EpochMicros, nullable=False),
    Column("expires_at", EpochMicros),
    Column("revoked_at", EpochMicros),
    Column("last_used_at", EpochMicros),
    Index("uq_api_tokens_digest", "digest", unique=True),
)

signing_keys = Table(
    "keys",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("key", String(64), nullable=False),
)
