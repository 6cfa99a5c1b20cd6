"""Access tokens of an issuer: RFC 9068, with nothing believed but what its signature covers."""

import hashlib
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

import jwt
from cachetools import TLRUCache

from vmapi.auth.cache import CachedIdentity, cache_expiry
from vmapi.auth.claim_mapping import ClaimMapping
from vmapi.auth.oidc_issuer import OIDCIssuer
from vmapi.domain.identity import Identity
from vmapi.errors import Unauthenticated

JWT_CACHE_TTL = 30.0
"""Seconds for which a verified token is not verified again, if it lives so long."""

JWT_CACHE_SIZE = 4096
"""Tokens that are remembered."""

REJECTION_DETAILS: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "This token has expired."),
    (jwt.ImmatureSignatureError, "This token is not valid yet."),
    (jwt.InvalidAudienceError, "This token is not meant for this API."),
    (jwt.InvalidIssuerError, "This token is another issuer's."),
    (jwt.InvalidSignatureError, "This token's signature is wrong."),
    (jwt.MissingRequiredClaimError, "This token lacks one of the claims exp, iss and aud."),
)


class JwtValidator:
    """Tokens of one issuer, for one audience."""

    def __init__(
        self,
        issuer: OIDCIssuer,
        claim_mapping: ClaimMapping,
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
        self._claim_mapping = claim_mapping
        self._required_claims: dict[str, Any] = {
            "issuer": url,
            "audience": audience,
            "leeway": leeway,
        }
        self._algorithms = frozenset(algorithms)
        self._types = frozenset(name.lower() for name in types)
        self._now = now
        self._lock = threading.Lock()
        self._cache: TLRUCache[str, CachedIdentity] = TLRUCache(
            JWT_CACHE_SIZE, cache_expiry, monotonic
        )

    def matches(self, token: str) -> bool:
        """Tell whether it has three parts."""
        return token.count(".") == 2

    def authenticate(self, token: str) -> Identity:
        """Return whose it is. Raises Unauthenticated, IssuerUnavailable."""
        digest = hashlib.sha256(token.encode()).hexdigest()
        with self._lock:
            known = self._cache.get(digest)
        if known is None:
            known = self._verify(token)
            with self._lock:
                self._cache[digest] = known
        return known.identity

    def _verify(self, token: str) -> CachedIdentity:
        try:
            algorithm, key_id = self._check_header(jwt.get_unverified_header(token))
            key = self._issuer.find_key(key_id, algorithm)
            found = jwt.decode(
                token,
                key.public_key,
                algorithms=[algorithm],
                options={"require": ["exp", "iss", "aud"]},
                **self._required_claims,
            )
            left = int(found["exp"]) - self._now()
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            why = (told for kind, told in REJECTION_DETAILS if isinstance(error, kind))
            raise Unauthenticated(
                next(why, "This is no token that can be verified."), credentials_sent=True
            ) from None
        # within the leeway after its end it is good, but verified each time
        return CachedIdentity(
            self._claim_mapping.to_identity(found), max(0.0, min(JWT_CACHE_TTL, left))
        )

    def _check_header(self, header: dict[str, Any]) -> tuple[str, str | None]:
        algorithm, type = header.get("alg"), str(header.get("typ")).lower()
        if algorithm not in self._algorithms:
            raise Unauthenticated(
                "This token's algorithm is not taken here.", credentials_sent=True
            )
        if type.removeprefix("application/") not in self._types:
            raise Unauthenticated(
                "This is no access token: its typ says otherwise.", credentials_sent=True
            )
        if "crit" in header:
            # RFC 7515, section 4.1.11: what is critical and not understood
            raise Unauthenticated(
                "This token has a critical header that is not known here.", credentials_sent=True
            )
        return str(algorithm), header.get("kid")
