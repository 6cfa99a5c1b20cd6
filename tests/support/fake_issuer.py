"""An issuer of a test's own: keys, tokens, and what it says of itself."""

import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from vmapi.auth.claim_mapping import ClaimMapping
from vmapi.auth.json_fetch import FetchError
from vmapi.domain.identity import Identity
from vmapi.domain.roles import Role
from vmapi.settings.auth import parse_role_mapping

URL = "https://sso.example.org/realms/cloud"
AUDIENCE = "https://vmapi.example.org"
MADE = {
    "RS": rsa.generate_private_key(65537, 2048),
    "RS-2": rsa.generate_private_key(65537, 2048),
    "RS-other": rsa.generate_private_key(65537, 2048),
    "ES": ec.generate_private_key(ec.SECP256R1()),
    "ED": ed25519.Ed25519PrivateKey.generate(),
}
ALGORITHMS = {"RS": "RS256", "ES": "ES256", "ED": "EdDSA"}


def public(name: str, **more: Any) -> dict[str, Any]:
    """Return the public half of a key as the issuer shows it."""
    algorithm = jwt.get_algorithm_by_name(ALGORITHMS[name[:2]])
    shown: dict[str, Any] = algorithm.to_jwk(MADE[name].public_key(), as_dict=True)
    shown.pop("key_ops", None)
    return {**shown, "kid": name, "use": "sig", **more}


class Authority:
    """What is asked for, and the keys that it shows by now."""

    def __init__(self, *keys: str) -> None:
        self.keys = [public(name) for name in keys or ("RS", "ES")]
        self.asked: list[str] = []
        self.away = False
        self.about: dict[str, Any] = {"issuer": URL, "jwks_uri": f"{URL}/certs"}

    def fetch(self, url: str) -> dict[str, Any]:
        """Answer a request."""
        self.asked.append(url)
        if self.away:
            raise FetchError("away")
        return self.about if url.endswith("openid-configuration") else {"keys": self.keys}


def claims(**other: Any) -> dict[str, Any]:
    """Return the claims of a good token; None leaves one out."""
    now = int(time.time())
    good = {
        "iss": URL,
        "aud": AUDIENCE,
        "sub": "alice",
        "client_id": "alice",
        "jti": "1",
        "iat": now,
        "exp": now + 36000,
        "roles": ["operator"],
        "project": "web",
        **other,
    }
    return {name: value for name, value in good.items() if value is not None}


def token(
    key: str = "RS",
    *,
    algorithm: str | None = None,
    head: dict[str, Any] | None = None,
    **other: Any,
) -> str:
    """Return a token, good unless something else is given."""
    header = {"typ": "at+jwt", "kid": key, **(head or {})}
    if header["kid"] is None:
        del header["kid"]
    named = algorithm or ALGORITHMS[key[:2]]
    return jwt.encode(claims(**other), MADE[key], named, headers=header)


ALICE = Identity("jwt:alice", Role.OPERATOR, "web")
CLAIM_MAPPING = ClaimMapping(
    subject_claim="sub",
    role_claim="roles",
    roles=parse_role_mapping("viewer=viewer,operator=operator,admin=admin"),
    project_claim="project",
    default_project="home",
)
