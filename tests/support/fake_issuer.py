"""A fake OpenID Connect issuer: keys, metadata, tokens."""

import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from vmapi.auth.claim_mapping import ClaimMapping
from vmapi.auth.json_fetch import FetchError
from vmapi.domain.access.identity import Identity
from vmapi.domain.access.roles import Role
from vmapi.settings.auth import parse_role_mapping

URL = "https://sso.example.org/realms/cloud"
AUDIENCE = "https://vmapi.example.org"
PRIVATE_KEYS = {
    "RS": rsa.generate_private_key(65537, 2048),
    "RS-2": rsa.generate_private_key(65537, 2048),
    "RS-other": rsa.generate_private_key(65537, 2048),
    "ES": ec.generate_private_key(ec.SECP256R1()),
    "ED": ed25519.Ed25519PrivateKey.generate(),
}
ALGORITHMS = {"RS": "RS256", "ES": "ES256", "ED": "EdDSA"}


def public(name: str, **members: Any) -> dict[str, Any]:
    """Return the public half of a key as the issuer publishes it."""
    algorithm = jwt.get_algorithm_by_name(ALGORITHMS[name[:2]])
    jwk: dict[str, Any] = algorithm.to_jwk(PRIVATE_KEYS[name].public_key(), as_dict=True)
    jwk.pop("key_ops", None)
    return {**jwk, "kid": name, "use": "sig", **members}


class FakeIssuer:
    """Serves metadata and keys, and collects the requested URLs."""

    def __init__(self, *keys: str) -> None:
        self.keys = [public(name) for name in keys or ("RS", "ES")]
        self.requests: list[str] = []
        self.is_unavailable = False
        self.metadata: dict[str, Any] = {"issuer": URL, "jwks_uri": f"{URL}/certs"}

    def fetch(self, url: str) -> dict[str, Any]:
        """Return the document at a URL."""
        self.requests.append(url)
        if self.is_unavailable:
            raise FetchError("unavailable")
        return self.metadata if url.endswith("openid-configuration") else {"keys": self.keys}


def claims(**other: Any) -> dict[str, Any]:
    """Return the claims of a valid token; None omits a claim."""
    now = int(time.time())
    valid = {
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
    return {name: value for name, value in valid.items() if value is not None}


def token(
    key: str = "RS",
    *,
    algorithm: str | None = None,
    head: dict[str, Any] | None = None,
    **other: Any,
) -> str:
    """Return a signed token, valid unless a claim or a header is replaced."""
    header = {"typ": "at+jwt", "kid": key, **(head or {})}
    if header["kid"] is None:
        del header["kid"]
    signature_algorithm = algorithm or ALGORITHMS[key[:2]]
    return jwt.encode(claims(**other), PRIVATE_KEYS[key], signature_algorithm, headers=header)


ALICE = Identity("jwt:alice", Role.OPERATOR, "web")
CLAIM_MAPPING = ClaimMapping(
    subject_claim="sub",
    role_claim="roles",
    roles=parse_role_mapping("viewer=viewer,operator=operator,admin=admin"),
    project_claim="project",
    default_project="home",
)
