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

from vmapi.auth.cache import Verified, until
from vmapi.domain.credential import Credential
from vmapi.domain.identity import PROJECT, SUBJECT, Identity
from vmapi.domain.roles import Role, greatest
from vmapi.errors import IssuerUnavailable, Unauthenticated

log = structlog.get_logger("vmapi.security")

REMEMBERED = 30.0
"""Seconds for which an answer is good, if the token lives so long."""
KNOWN = 4096
UNKNOWN_FOR = 10.0
"""Seconds: another Keystone of the same cloud may not know a new token at once."""
UNKNOWN = 1024
TIMEOUT = 5.0

NONE = "Keystone does not know this token: it is wrong, expired or revoked."
NO_PROJECT = "This Keystone token is not for a project: ask for one that is scoped to a project."


class KeystoneTokens:
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
        self._known: TLRUCache[str, Verified] = TLRUCache(KNOWN, until, monotonic)
        self._unknown: TTLCache[str, None] = TTLCache(UNKNOWN, UNKNOWN_FOR, monotonic)

    def recognises(self, token: str) -> bool:
        """Tell that it may be one: Keystone's have many forms."""
        return bool(token)

    def identify(self, token: str) -> Identity:
        """Return whose it is, with the token as its credential, which is not remembered.

        Raises Unauthenticated, IssuerUnavailable.
        """
        digest = hashlib.sha256(token.encode()).hexdigest()
        with self._lock:
            known = self._known.get(digest)
            if known is None and digest in self._unknown:
                raise Unauthenticated(NONE, sent=True)
        if known is None:
            known = self._validated(token, digest)
            with self._lock:
                self._known[digest] = known
        identity = known.identity
        return replace(identity, credential=Credential(token, identity.project))

    def _validated(self, token: str, digest: str) -> Verified:
        status, body = self._ask(token)
        if status in (401, 404):
            with self._lock:
                self._unknown[digest] = None
            raise Unauthenticated(NONE, sent=True)
        try:
            if status != 200:
                raise ValueError(f"it answers with {status}")
            found = body["token"]
            ends = datetime.fromisoformat(found["expires_at"]).timestamp()
            left = max(0.0, min(REMEMBERED, ends - self._now()))
            return Verified(self._identity(found), left)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("Keystone did not say whose a token is", reason=str(error))
            raise IssuerUnavailable("Keystone did not say whose this token is.") from None

    def _ask(self, token: str) -> tuple[int, Any]:
        try:
            answer = self._session.get(
                self._url,
                headers={"X-Auth-Token": token, "X-Subject-Token": token},
                authenticated=False,
                raise_exc=False,
                redirect=False,
                connect_retries=0,
                timeout=TIMEOUT,
                # not even hashed
                log=False,
            )
            return answer.status_code, answer.json() if answer.status_code == 200 else None
        except (ClientException, ValueError) as error:
            log.warning("Keystone does not answer", reason=type(error).__name__)
            raise IssuerUnavailable("Keystone does not answer.") from None

    def _identity(self, found: Mapping[str, Any]) -> Identity:
        subject, project = f"keystone:{found['user']['id']}", found.get("project") or {}
        if not PROJECT.fullmatch(str(project.get("id", ""))):
            raise Unauthenticated(NO_PROJECT, sent=True)
        if not SUBJECT.fullmatch(subject):
            raise ValueError("the user's id is none")
        names = [role["name"] for role in found.get("roles") or ()]
        roles = {self._roles[name] for name in names if name in self._roles}
        return Identity(subject, greatest(roles), str(project["id"]))
