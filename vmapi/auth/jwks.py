"""Parses the public keys of an issuer: JSON Web Key Sets (RFC 7517)."""

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
#: RFC 7518, section 3.3.
MIN_RSA_BITS = 2048


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key, and the algorithms of its key type that it may verify."""

    id: str | None
    algorithms: frozenset[str]
    public_key: Any


def parse_jwks(document: dict[str, Any]) -> tuple[VerificationKey, ...]:
    """Return the keys of a key set that verify signatures; skip all others."""
    jwks = document.get("keys")
    keys = [_parse_key(jwk) for jwk in jwks] if isinstance(jwks, list) else []
    return tuple(key for key in keys if key is not None)


def select_key(
    keys: Iterable[VerificationKey], key_id: str | None, algorithm: str
) -> VerificationKey | None:
    """Return the key with an id, or the only key of an algorithm if the token names no id."""
    matching = [key for key in keys if algorithm in key.algorithms and key_id in (None, key.id)]
    return matching[0] if len(matching) == 1 else None


def _parse_key(jwk: Any) -> VerificationKey | None:
    try:
        algorithms = _usable_algorithms(jwk)
        if not algorithms:
            return None
        public_key = jwt.PyJWK(jwk, min(algorithms)).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError) as error:
        log.warning("issuer key unreadable, skipped", reason=str(error))
        return None
    key_id = jwk.get("kid")
    if jwk["kty"] == "RSA" and public_key.key_size < MIN_RSA_BITS:
        log.warning("issuer key too short, skipped", key_id=str(key_id))
        return None
    return VerificationKey(key_id if isinstance(key_id, str) else None, algorithms, public_key)


def _usable_algorithms(jwk: dict[str, Any]) -> frozenset[str]:
    if jwk.get("use", "sig") != "sig" or "verify" not in jwk.get("key_ops", ["verify"]):
        return frozenset()
    if "d" in jwk:
        raise ValueError("it is a private key")
    key_type, declared = jwk.get("kty"), jwk.get("alg")
    by_curve = ALGORITHMS_BY_CURVE.get((key_type, jwk.get("crv")), ())
    algorithms = RSA_ALGORITHMS if key_type == "RSA" else by_curve
    return frozenset(name for name in algorithms if declared in (None, name))
