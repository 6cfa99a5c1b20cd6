"""API tokens: stored and found by their digests, never stored as text."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, and_, or_, select

from vmapi.domain.access.api_token import ApiToken
from vmapi.domain.access.roles import Role
from vmapi.domain.audit import AuditEntry
from vmapi.store.audit.repository import append
from vmapi.store.database import Database
from vmapi.store.tables import api_tokens

LAST_USED_WRITE_INTERVAL = timedelta(minutes=1)
"""The resolution of `last_used_at`: a write for each request would wait for the disk."""


class ApiTokenRepository:
    """The API tokens of one database. Any method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, token: ApiToken, entry: AuditEntry) -> None:
        """Insert a token and its audit entry."""
        with self._database.write() as connection:
            connection.execute(api_tokens.insert(), asdict(token))
            append(connection, entry)

    def find_by_digest(self, digest: str) -> ApiToken | None:
        """Return the token with a digest, active or not; None without one."""
        return self._find(api_tokens.c.digest == digest)

    def get(self, id: str) -> ApiToken | None:
        """Return the token with an id, active or not; None without one."""
        return self._find(api_tokens.c.id == id)

    def list_all(self) -> list[ApiToken]:
        """Return every token, oldest first."""
        query = select(api_tokens).order_by(api_tokens.c.created_at, api_tokens.c.id)
        with self._database.read() as connection:
            return [_from_row(row) for row in connection.execute(query)]

    def revoke(self, id: str, at: datetime, entry: AuditEntry) -> bool:
        """Revoke a token from a time on; return False if it is not active then."""
        revoke = api_tokens.update().where(api_tokens.c.id == id, _is_active(at))
        with self._database.write() as connection:
            if not connection.execute(revoke.values(revoked_at=at, is_revoked=True)).rowcount:
                return False
            append(connection, entry)
        return True

    def replace(self, id: str, new: ApiToken, until: datetime, *entries: AuditEntry) -> bool:
        """Insert a successor of a token, which stays active until a time.

        Returns False if the token is not active or has been replaced: its end is not postponed.
        """
        is_replaceable = and_(
            api_tokens.c.id == id, api_tokens.c.revoked_at.is_(None), _is_active(new.created_at)
        )
        revoke = api_tokens.update().where(is_replaceable).values(revoked_at=until)
        with self._database.write() as connection:
            if not connection.execute(revoke).rowcount:
                return False
            connection.execute(api_tokens.insert(), asdict(new))
            for entry in entries:
                append(connection, entry)
        return True

    def record_use(self, id: str, at: datetime) -> None:
        """Save the last use of a token, at most once per `LAST_USED_WRITE_INTERVAL`."""
        is_due = or_(
            api_tokens.c.last_used_at.is_(None),
            api_tokens.c.last_used_at <= at - LAST_USED_WRITE_INTERVAL,
            # from a wrong clock
            api_tokens.c.last_used_at > at + LAST_USED_WRITE_INTERVAL,
        )
        with self._database.write() as connection:
            update = api_tokens.update().where(api_tokens.c.id == id, is_due)
            connection.execute(update.values(last_used_at=at))

    def purge(self, until: datetime) -> int:
        """Delete the tokens that were revoked or expired before a time; return the number."""
        has_ended = or_(api_tokens.c.revoked_at < until, api_tokens.c.expires_at < until)
        with self._database.write() as connection:
            return connection.execute(api_tokens.delete().where(has_ended)).rowcount

    def _find(self, condition: ColumnElement[bool]) -> ApiToken | None:
        with self._database.read() as connection:
            row = connection.execute(select(api_tokens).where(condition)).first()
        return None if row is None else _from_row(row)


def _is_active(at: datetime) -> ColumnElement[bool]:
    return and_(
        ~api_tokens.c.is_revoked,
        or_(api_tokens.c.revoked_at.is_(None), api_tokens.c.revoked_at > at),
        or_(api_tokens.c.expires_at.is_(None), api_tokens.c.expires_at > at),
    )


def _from_row(row: Row[Any]) -> ApiToken:
    return ApiToken(**{**row._mapping, "role": Role(row.role)})
