"""Access tokens of an issuer: RFC 9068, with nothing believed but what its signature covers."""

import hashlib
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

import jwt
from cachetools import TLRUCache

from vmapi.auth.cache import Verified, until
from vmapi.auth.claim_mapping import Claims
from vmapi.auth.oidc_issuer import Issuer
from vmapi.domain.identity import Identity
from vmapi.errors import Unauthenticated

REMEMBERED = 30.0
"""Seconds for which a verified token is not verified again, if it lives so long."""

KNOWN = 4096
"""Tokens that are remembered."""

WHY: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "This token has expired."),
    (jwt.ImmatureSignatureError, "This token is not valid yet."),
    (jwt.InvalidAudienceError, "This token is not meant for this API."),
    (jwt.InvalidIssuerError, "This token is another issuer's."),
    (jwt.InvalidSignatureError, "This token's signature is wrong."),
    (jwt.MissingRequiredClaimError, "This token lacks one of the claims exp, iss and aud."),
)


class JwtTokens:
    """Tokens of one issuer, for one audience."""

    def __init__(
        self,
        issuer: Issuer,
        claims: Claims,
        *,
        url: str,
        audience: str,
        algorithms: Collection[str],
        types: Collection[str],
        leeway: int,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._issuer = issuer
        self._claims = claims
        self._expected: dict[str, Any] = {"issuer": url, "audience": audience, "leeway": leeway}
        self._algorithms = frozenset(algorithms)
        self._types = frozenset(name.lower() for name in types)
        self._now = now
        self._lock = threading.Lock()
        self._known: TLRUCache[str, Verified] = TLRUCache(KNOWN, until, monotonic)

    def recognises(self, token: str) -> bool:
        """Tell whether it has three parts."""
        return token.count(".") == 2

    def identify(self, token: str) -> Identity:
        """Return whose it is. Raises Unauthenticated, IssuerUnavailable."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        with self._lock:
            known = self._known.get(digest)
        if known is None:
            known = self._verify(token)
            with self._lock:
                self._known[digest] = known
        return known.identity

    def _verify(self, token: str) -> Verified:
        try:
            algorithm, key_id = self._head(jwt.get_unverified_header(token))
            key = self._issuer.key(key_id, algorithm)
            found = jwt.decode(
                token,
                key.public,
                algorithms=[algorithm],
                options={"require": ["exp", "iss", "aud"]},
                **self._expected,
            )
            left = int(found["exp"]) - self._now()
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            why = (told for kind, told in WHY if isinstance(error, kind))
            raise Unauthenticated(
                next(why, "This is no token that can be verified."), sent=True
            ) from None
        # within the leeway after its end it is good, but verified each time
        return Verified(self._claims.identity(found), max(0.0, min(REMEMBERED, left)))

    def _head(self, head: dict[str, Any]) -> tuple[str, str | None]:
        algorithm, type = head.get("alg"), str(head.get("typ")).lower()
        if algorithm not in self._algorithms:
            raise Unauthenticated("This token's algorithm is not taken here.", sent=True)
        if type.removeprefix("application/") not in self._types:
            raise Unauthenticated("This is no access token: its typ says otherwise.", sent=True)
        if "crit" in head:
            # RFC 7515, section 4.1.11: what is critical and not understood
            raise Unauthenticated(
                "This token has a critical header that is not known here.", sent=True
            )
        return str(algorithm), head.get("kid")
