"""Manage API tokens: create, list, revoke and rotate them, each with its audit entries."""

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from vmapi.domain.access import api_token
from vmapi.domain.access.api_token import ApiToken
from vmapi.domain.access.roles import Role
from vmapi.domain.audit import AuditEntry

if TYPE_CHECKING:
    from vmapi.store.api_tokens import ApiTokenRepository


class ApiTokenService:
    """Creates and revokes API tokens. Any method may raise StoreUnavailable.

    The token itself is returned once; the database has its hash only. `user` is the operator for
    the audit trail. The audit entries of one call share a request id. `repository` opens the
    database on first use.
    """

    def __init__(
        self, repository: "Callable[[], ApiTokenRepository]", clock: Callable[[], datetime]
    ) -> None:
        self._repository = repository
        self._clock = clock

    def create(
        self, subject: str, role: Role, project: str, lifetime: timedelta | None, user: str
    ) -> tuple[str, ApiToken]:
        """Create a token; without a lifetime it does not expire."""
        secret, token = self._build_token(subject, role, project, lifetime)
        new_entry = _audit_entry_factory(token.created_at, user)
        self._repository().add(token, new_entry(token, "token_create"))
        return secret, token

    def list_tokens(self) -> list[tuple[ApiToken, str]]:
        """Return all tokens with their states, the oldest first."""
        now = self._clock()
        return [(token, token.state(now)) for token in self._repository().list_all()]

    def find_by_digest(self, digest: str) -> ApiToken | None:
        """Return the token with this hash, whatever its state."""
        return self._repository().find_by_digest(digest)

    def record_use(self, id: str, at: datetime) -> None:
        """Save the time of the last use of a token."""
        self._repository().record_use(id, at)

    def revoke(self, id: str, user: str) -> bool:
        """Revoke a token. Return False if no active token has this id."""
        token, now = self._repository().get(id), self._clock()
        if token is None:
            return False
        entry = _audit_entry_factory(now, user)(token, "token_revoke")
        return self._repository().revoke(id, now, entry)

    def rotate(self, id: str, overlap: timedelta, user: str) -> tuple[str, ApiToken] | None:
        """Replace a token by a new one with the same rights and lifetime.

        The old token stays valid for the overlap. Return None if no active token has this id, or if
        the token has been rotated before.
        """
        old, now = self._repository().get(id), self._clock()
        if old is None:
            return None
        lifetime = None if old.expires_at is None else old.expires_at - old.created_at
        secret, new = self._build_token(old.subject, old.role, old.project, lifetime)
        new_entry = _audit_entry_factory(now, user)
        entries = new_entry(old, "token_rotate"), new_entry(new, "token_create")
        replaced = self._repository().replace(id, new, new.created_at + overlap, *entries)
        return (secret, new) if replaced else None

    def _build_token(
        self, subject: str, role: Role, project: str, lifetime: timedelta | None
    ) -> tuple[str, ApiToken]:
        secret, now = api_token.generate_token(), self._clock()
        token = ApiToken(
            id=str(uuid.uuid4()),
            digest=api_token.hash_token(secret),
            subject=subject,
            role=role,
            project=project,
            created_at=now,
            expires_at=None if lifetime is None else now + lifetime,
        )
        return secret, token


def _audit_entry_factory(at: datetime, user: str) -> Callable[[ApiToken, str], AuditEntry]:
    request_id = f"req-{uuid.uuid4()}"
    return lambda token, action: AuditEntry.for_token(token, at, action, user, request_id)
