"""API tokens, as operators handle them."""

import uuid
from collections.abc import Callable
from datetime import datetime, timedelta

from vmapi.domain import api_token
from vmapi.domain.api_token import ApiToken
from vmapi.domain.audit import AuditEntry
from vmapi.domain.roles import Role
from vmapi.store.store import Store


class ApiTokenService:
    """Makes tokens and takes them back; `user` is who does. Any method may raise StoreUnavailable.

    A token itself is returned once, and kept nowhere. What one call does has one request id in the
    audit trail.
    """

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    def create(
        self, subject: str, role: Role, project: str, lifetime: timedelta | None, user: str
    ) -> tuple[str, ApiToken]:
        """Make a token; without a lifetime it has no end."""
        secret, token = self._build_token(subject, role, project, lifetime)
        act = _audit_entry_factory(token.created_at, user)
        self._store.api_tokens.add(token, act(token, "token_create"))
        return secret, token

    def list_tokens(self) -> list[tuple[ApiToken, str]]:
        """Return every token with its state, the oldest first."""
        now = self._clock()
        return [(token, token.state(now)) for token in self._store.api_tokens.list_all()]

    def find(self, digest: str) -> ApiToken | None:
        """Return the token that has this hash, ended or not."""
        return self._store.api_tokens.find_by_digest(digest)

    def record_use(self, id: str, at: datetime) -> None:
        """Note that a token was used."""
        self._store.api_tokens.record_use(id, at)

    def revoke(self, id: str, user: str) -> bool:
        """Take a token back; False where none that is active has this id."""
        token, now = self._store.api_tokens.get(id), self._clock()
        if token is None:
            return False
        return self._store.api_tokens.revoke(
            id, now, _audit_entry_factory(now, user)(token, "token_revoke")
        )

    def rotate(self, id: str, overlap: timedelta, user: str) -> tuple[str, ApiToken] | None:
        """Make a token as an old one is, for as long again; the old one goes on for the overlap.

        None where none that is active, and not rotated before, has this id.
        """
        old, now = self._store.api_tokens.get(id), self._clock()
        if old is None:
            return None
        lifetime = None if old.expires_at is None else old.expires_at - old.created_at
        secret, new = self._build_token(old.subject, old.role, old.project, lifetime)
        act = _audit_entry_factory(now, user)
        entries = act(old, "token_rotate"), act(new, "token_create")
        made = self._store.api_tokens.replace(id, new, new.created_at + overlap, *entries)
        return (secret, new) if made else None

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
