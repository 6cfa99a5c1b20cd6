"""Keystone's tokens: Keystone itself says whose they are (Identity API v3, GET /auth/tokens).

A user may ask for its own token, so vmapi needs no account for this. Answers are remembered for a
short while, also that a token is none.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog
from cachetools import TLRUCache, TTLCache
from keystoneauth1.exceptions import ClientException
from keystoneauth1.session import Session

from vmapi.auth.cache import CachedIdentity, cache_expiry
from vmapi.domain.identity import SUBJECT_PATTERN, CallerToken, Identity
from vmapi.domain.project import PROJECT_NAME_PATTERN
from vmapi.domain.roles import Role, highest_role
from vmapi.errors import IssuerUnavailable, Unauthenticated

log = structlog.get_logger("vmapi.security")

KEYSTONE_CACHE_TTL = 30.0
"""Seconds for which an answer is good, if the token lives so long."""
KEYSTONE_CACHE_SIZE = 4096
KEYSTONE_NEGATIVE_CACHE_TTL = 10.0
"""Seconds: another Keystone of the same cloud may not know a new token at once."""
KEYSTONE_NEGATIVE_CACHE_SIZE = 1024
KEYSTONE_VALIDATION_TIMEOUT = 5.0

UNKNOWN_BEARER_DETAIL = "Keystone does not know this token: it is wrong, expired or revoked."
UNSCOPED_BEARER_DETAIL = (
    "This Keystone token is not for a project: ask for one that is scoped to a project."
)


class KeystoneValidator:
    """Tokens of one Keystone; `roles` says which of its roles is which here."""

    def __init__(
        self,
        url: str,
        roles: Mapping[str, Role],
        *,
        session: Session | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        base = url.rstrip("/")
        self._url = f"{base if base.endswith('/v3') else base + '/v3'}/auth/tokens?nocatalog"
        self._roles = roles
        self._session = session or Session()
        self._now = now
        self._lock = threading.Lock()
        self._cache: TLRUCache[str, CachedIdentity] = TLRUCache(
            KEYSTONE_CACHE_SIZE, cache_expiry, monotonic
        )
        self._negative_cache: TTLCache[str, None] = TTLCache(
            KEYSTONE_NEGATIVE_CACHE_SIZE, KEYSTONE_NEGATIVE_CACHE_TTL, monotonic
        )

    def matches(self, token: str) -> bool:
        """Tell that it may be one: Keystone's have many forms."""
        return bool(token)

    def authenticate(self, token: str) -> Identity:
        """Return whose it is, with the token as its credential, which is not remembered.

        Raises Unauthenticated, IssuerUnavailable.
        """
        digest = hashlib.sha256(token.encode()).hexdigest()
        with self._lock:
            known = self._cache.get(digest)
            if known is None and digest in self._negative_cache:
                raise Unauthenticated(UNKNOWN_BEARER_DETAIL, credentials_sent=True)
        if known is None:
            known = self._validate(token, digest)
            with self._lock:
                self._cache[digest] = known
        identity = known.identity
        return replace(identity, caller_token=CallerToken(token, identity.project))

    def _validate(self, token: str, digest: str) -> CachedIdentity:
        status, body = self._request_validation(token)
        if status in (401, 404):
            with self._lock:
                self._negative_cache[digest] = None
            raise Unauthenticated(UNKNOWN_BEARER_DETAIL, credentials_sent=True)
        try:
            if status != 200:
                raise ValueError(f"it answers with {status}")
            found = body["token"]
            ends = datetime.fromisoformat(found["expires_at"]).timestamp()
            left = max(0.0, min(KEYSTONE_CACHE_TTL, ends - self._now()))
            return CachedIdentity(self._to_identity(found), left)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("Keystone did not say whose a token is", reason=str(error))
            raise IssuerUnavailable("Keystone did not say whose this token is.") from None

    def _request_validation(self, token: str) -> tuple[int, Any]:
        try:
            answer = self._session.get(
                self._url,
                headers={"X-Auth-Token": token, "X-Subject-Token": token},
                authenticated=False,
                raise_exc=False,
                redirect=False,
                connect_retries=0,
                timeout=KEYSTONE_VALIDATION_TIMEOUT,
                # not even hashed
                log=False,
            )
            return answer.status_code, answer.json() if answer.status_code == 200 else None
        except (ClientException, ValueError) as error:
            log.warning("Keystone does not answer", reason=type(error).__name__)
            raise IssuerUnavailable("Keystone does not answer.") from None

    def _to_identity(self, token_body: Mapping[str, Any]) -> Identity:
        subject, project = f"keystone:{token_body['user']['id']}", token_body.get("project") or {}
        if not PROJECT_NAME_PATTERN.fullmatch(str(project.get("id", ""))):
            raise Unauthenticated(UNSCOPED_BEARER_DETAIL, credentials_sent=True)
        if not SUBJECT_PATTERN.fullmatch(subject):
            raise ValueError("the user's id is none")
        names = [role["name"] for role in token_body.get("roles") or ()]
        roles = {self._roles[name] for name in names if name in self._roles}
        return Identity(subject, highest_role(roles), str(project["id"]))
