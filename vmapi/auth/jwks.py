"""The public keys of an issuer (RFC 7517)."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jwt
import structlog

log = structlog.get_logger("vmapi.security")

RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
ALGORITHMS_BY_CURVE: dict[tuple[Any, Any], tuple[str, ...]] = {
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
    ("OKP", "Ed448"): ("EdDSA",),
}
MIN_RSA_BITS = 2048
"""Bits: RFC 7518, section 3.3."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key, and the algorithms that it may be used with: never those of another kind of key."""

    id: str | None
    algorithms: frozenset[str]
    public_key: Any


def parse_jwks(document: dict[str, Any]) -> tuple[VerificationKey, ...]:
    """Return the keys of a JWK set that verify signatures; others are left out."""
    listed = document.get("keys")
    made = [_parse_key(each) for each in listed] if isinstance(listed, list) else []
    return tuple(key for key in made if key is not None)


def select_key(
    keys: Iterable[VerificationKey], key_id: str | None, algorithm: str
) -> VerificationKey | None:
    """Return the key that a token names, or where it names none the only one there is."""
    fitting = [key for key in keys if algorithm in key.algorithms and key_id in (None, key.id)]
    return fitting[0] if len(fitting) == 1 else None


def _parse_key(jwk: Any) -> VerificationKey | None:
    try:
        algorithms = _usable_algorithms(jwk)
        if not algorithms:
            return None
        public = jwt.get_algorithm_by_name(min(algorithms)).from_jwk(jwk)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError) as error:
        log.warning("a key of the issuer cannot be read", reason=str(error))
        return None
    id = jwk.get("kid")
    if jwk["kty"] == "RSA" and public.key_size < MIN_RSA_BITS:
        log.warning("a key of the issuer is too short", key_id=str(id))
        return None
    return VerificationKey(id if isinstance(id, str) else None, algorithms, public)


def _usable_algorithms(jwk: dict[str, Any]) -> frozenset[str]:
    if jwk.get("use", "sig") != "sig" or "verify" not in jwk.get("key_ops", ["verify"]):
        return frozenset()
    if "d" in jwk:
        raise ValueError("it is a private key")
    kind, named = jwk.get("kty"), jwk.get("alg")
    of_kind = (
        RSA_ALGORITHMS if kind == "RSA" else ALGORITHMS_BY_CURVE.get((kind, jwk.get("crv")), ())
    )
    return frozenset(name for name in of_kind if named in (None, name))
