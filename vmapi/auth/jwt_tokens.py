"""Validation of JWT access tokens (RFC 9068) of one OpenID Connect issuer."""

import time
from collections.abc import Callable, Collection
from typing import Any

import jwt

from vmapi.auth.cache import TokenCache, ValidatedToken
from vmapi.auth.claim_mapping import ClaimMapping
from vmapi.auth.oidc_issuer import OIDCIssuer
from vmapi.domain.access.identity import Identity
from vmapi.errors import Unauthenticated

#: Seconds.
JWT_CACHE_TTL = 30.0

REJECTION_DETAILS: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "This token has expired."),
    (jwt.ImmatureSignatureError, "This token is not valid yet."),
    (jwt.InvalidAudienceError, "This token is not meant for this API."),
    (jwt.InvalidIssuerError, "This token is of another issuer."),
    (jwt.InvalidSignatureError, "This token's signature is wrong."),
    (jwt.MissingRequiredClaimError, "This token lacks one of the claims exp, iss and aud."),
)


class JwtValidator:
    """Validates the tokens of one issuer for one audience.

    `leeway` is the tolerated clock difference in seconds; `types` are accepted values of `typ`.
    """

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
        self._cache: TokenCache[Identity] = TokenCache(monotonic=monotonic)

    def matches(self, token: str) -> bool:
        """Return whether a token has the three parts of a JWT."""
        return token.count(".") == 2

    def has_issued(self, token: str) -> bool:
        """Return whether a token names this issuer; nothing is verified."""
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except (jwt.PyJWTError, ValueError):
            return False
        return bool(claims.get("iss") == self._required_claims["issuer"])

    def authenticate(self, token: str) -> Identity:
        """Return the identity of a token. Raises Unauthenticated, IssuerUnavailable."""
        identity = self._cache.get_or_validate(token, lambda: self._verify(token))
        assert identity is not None
        return identity

    def _verify(self, token: str) -> ValidatedToken[Identity]:
        try:
            algorithm, key_id = self._check_header(jwt.get_unverified_header(token))
            key = self._issuer.find_key(key_id, algorithm)
            claims = jwt.decode(
                token,
                key.public_key,
                algorithms=[algorithm],
                options={"require": ["exp", "iss", "aud"]},
                **self._required_claims,
            )
            remaining = int(claims["exp"]) - self._now()
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError) as error:
            details = (text for kind, text in REJECTION_DETAILS if isinstance(error, kind))
            detail = next(details, "This token cannot be verified.")
            raise Unauthenticated(detail, credentials_sent=True) from None
        # an expired token within the leeway is valid, but not cached
        ttl = max(0.0, min(JWT_CACHE_TTL, remaining))
        return ValidatedToken(self._claim_mapping.to_identity(claims), ttl)

    def _check_header(self, header: dict[str, Any]) -> tuple[str, str | None]:
        """Return the algorithm and the key id of a header. Raises Unauthenticated."""
        algorithm, token_type = header.get("alg"), str(header.get("typ")).lower()
        if algorithm not in self._algorithms:
            raise Unauthenticated("This token's algorithm is not accepted.", credentials_sent=True)
        if token_type.removeprefix("application/") not in self._types:
            raise Unauthenticated(
                "This is not an access token: its typ is another.", credentials_sent=True
            )
        if "crit" in header:
            # RFC 7515, section 4.1.11: an extension that must be understood
            raise Unauthenticated(
                "This token has an unsupported critical header.", credentials_sent=True
            )
        return str(algorithm), header.get("kid")
