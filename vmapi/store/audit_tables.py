"""The tables of the audit trail."""

from sqlalchemy import BigInteger, Column, Index, String, Table, text

from vmapi.store.tables import SERIAL, metadata
from vmapi.store.types import EpochMicros

__all__ = ["audit_checkpoints", "audit_entries", "metadata"]

IS_UNCHAINED_TEXT = text("position IS NULL")
HAS_TOKEN_TEXT = text("token_id IS NOT NULL")
AUDIT_FILTER_COLUMNS = ("user", "project", "action", "vm_id", "request_id", "outcome")
"""What entries are asked for by, the newest first."""

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("id", SERIAL, primary_key=True),
    Column("at", EpochMicros, nullable=False),
    Column("user", String(255), nullable=False),
    Column("project", String(64), nullable=False),
    Column("address", String(64), nullable=False),
    Column("action", String(16), nullable=False),
    Column("vm_id", String(36)),
    Column("operation_id", String(36)),
    Column("request_id", String(255), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("code", String(64)),
    Column("position", BigInteger),
    Column("mac", String(64)),
    Column("token_id", String(36)),
    Index("ix_audit_entries_at", "at"),
    *(Index(f"ix_audit_entries_{name}_id", name, "id") for name in AUDIT_FILTER_COLUMNS),
    Index(
        "ix_audit_entries_token_id_id",
        "token_id",
        "id",
        sqlite_where=HAS_TOKEN_TEXT,
        postgresql_where=HAS_TOKEN_TEXT,
    ),
    Index(
        "ix_audit_entries_open",
        "id",
        sqlite_where=IS_UNCHAINED_TEXT,
        postgresql_where=IS_UNCHAINED_TEXT,
    ),
    Index("uq_audit_entries_position", "position", unique=True),
    sqlite_autoincrement=True,
)

audit_checkpoints = Table(
    "audit_checkpoints",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("mac", String(64), nullable=False),
    Column("seal", String(64), nullable=False),
)
