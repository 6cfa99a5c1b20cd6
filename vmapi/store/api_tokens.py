"""API tokens: kept and found by their hashes, never by themselves."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, and_, or_, select

from vmapi.domain.api_token import ApiToken
from vmapi.domain.audit import AuditEntry
from vmapi.domain.roles import Role
from vmapi.store.audit.repository import append
from vmapi.store.database import Database
from vmapi.store.tables import api_tokens as tokens

LAST_USED_WRITE_INTERVAL = timedelta(minutes=1)
"""A token's last use is written no more often than this."""


class ApiTokenRepository:
    """The tokens of one database. Any method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, token: ApiToken, entry: AuditEntry) -> None:
        """Keep a new token, and its line in the audit trail."""
        with self._database.write() as connection:
            connection.execute(tokens.insert(), asdict(token))
            append(connection, entry)

    def find_by_digest(self, digest: str) -> ApiToken | None:
        """Return the token that has this hash, ended or not."""
        with self._database.read() as connection:
            found = connection.execute(select(tokens).where(tokens.c.digest == digest)).first()
        return None if found is None else _from_row(found)

    def get(self, id: str) -> ApiToken | None:
        """Return the token that has this id, ended or not."""
        with self._database.read() as connection:
            found = connection.execute(select(tokens).where(tokens.c.id == id)).first()
        return None if found is None else _from_row(found)

    def list_all(self) -> list[ApiToken]:
        """Return every token, the oldest first."""
        query = select(tokens).order_by(tokens.c.created_at, tokens.c.id)
        with self._database.read() as connection:
            return [_from_row(row) for row in connection.execute(query)]

    def revoke(self, id: str, at: datetime, entry: AuditEntry) -> bool:
        """Take a token back from then on; False where it is over by then."""
        ended = tokens.update().where(tokens.c.id == id, _is_active(at)).values(revoked_at=at)
        with self._database.write() as connection:
            if not connection.execute(ended).rowcount:
                return False
            append(connection, entry)
        return True

    def replace(self, id: str, new: ApiToken, until: datetime, *entries: AuditEntry) -> bool:
        """Keep a new token for an old one, which goes on until then.

        False where that is over, or was replaced before: its end is not put off.
        """
        old = and_(tokens.c.id == id, tokens.c.revoked_at.is_(None), _is_active(new.created_at))
        ended = tokens.update().where(old)
        with self._database.write() as connection:
            if not connection.execute(ended.values(revoked_at=until)).rowcount:
                return False
            connection.execute(tokens.insert(), asdict(new))
            for entry in entries:
                append(connection, entry)
        return True

    def record_use(self, id: str, at: datetime) -> None:
        """Note that a token was used, unless that was noted a short while ago."""
        long_ago = or_(
            tokens.c.last_used_at.is_(None), tokens.c.last_used_at <= at - LAST_USED_WRITE_INTERVAL
        )
        noted = tokens.update().where(tokens.c.id == id, long_ago).values(last_used_at=at)
        with self._database.write() as connection:
            connection.execute(noted)


def _is_active(at: datetime) -> Any:
    return and_(
        or_(tokens.c.revoked_at.is_(None), tokens.c.revoked_at > at),
        or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > at),
    )


def _from_row(row: Row[Any]) -> ApiToken:
    return ApiToken(**{**row._mapping, "role": Role(row.role)})
