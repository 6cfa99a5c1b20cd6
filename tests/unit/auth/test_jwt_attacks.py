"""Known attacks on JWT validation: each is rejected."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_issuer import (
    ALICE,
    AUDIENCE,
    CLAIM_MAPPING,
    PRIVATE_KEYS,
    URL,
    FakeIssuer,
    claims,
    public,
    token,
)
from vmapi.auth.jwt_tokens import JwtValidator
from vmapi.auth.oidc_issuer import OIDCIssuer
from vmapi.domain.access.identity import Identity
from vmapi.errors import Unauthenticated


def build_validator(issuer: FakeIssuer | None = None, **options: Any) -> JwtValidator:
    defaults = {
        "url": URL,
        "audience": AUDIENCE,
        "algorithms": ("RS256", "PS256", "ES256"),
        "types": ("at+jwt",),
        "leeway": 10,
        **options,
    }
    fetch = (issuer or FakeIssuer()).fetch
    return JwtValidator(OIDCIssuer(URL, fetch=fetch), CLAIM_MAPPING, **defaults)


def raw(head: object, body: object, sign: Callable[[bytes], bytes] = lambda _: b"") -> str:
    """Return a token of arbitrary parts with an arbitrary signature."""
    parts = [
        part if isinstance(part, bytes) else json.dumps(part).encode() for part in (head, body)
    ]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = base64.urlsafe_b64encode(sign(signed)).rstrip(b"=")
    return f"{signed.decode()}.{signature.decode()}"


def hmac_sha256(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda text: hmac.new(secret, text, hashlib.sha256).digest()


PEM = PRIVATE_KEYS["RS"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
MODULUS = public("RS")["n"].encode()
NOW = int(time.time())
HEAD = {"alg": "RS256", "typ": "at+jwt", "kid": "RS"}
EMBEDDED_KEY = {"jwk": public("RS-other")}
DEEP = b"[" * 5000

ATTACKS: dict[str, tuple[str, str]] = {
    "no algorithm": (
        raw({**HEAD, "alg": "none"}, claims()),
        "This token's algorithm is not accepted.",
    ),
    "no algorithm, in mixed case": (
        raw({**HEAD, "alg": "NoNe"}, claims()),
        "This token's algorithm is not accepted.",
    ),
    "no signature": (raw(HEAD, claims()), "This token's signature is wrong."),
    "the public key as a secret, as PEM": (
        raw({**HEAD, "alg": "HS256"}, claims(), hmac_sha256(PEM)),
        "This token's algorithm is not accepted.",
    ),
    "the public key as a secret, as a number": (
        raw({**HEAD, "alg": "HS256"}, claims(), hmac_sha256(MODULUS)),
        "This token's algorithm is not accepted.",
    ),
    "the algorithm of another key type": (
        raw({**HEAD, "alg": "ES256"}, claims(), lambda _: b"x" * 64),
        "The issuer does not have this token's key.",
    ),
    "an algorithm that is not in the list": (
        token(algorithm="RS512"),
        "This token's algorithm is not accepted.",
    ),
    "another issuer": (
        token(iss="https://evil.example"),
        "This token is of another issuer.",
    ),
    "another issuer with a similar URL": (token(iss=f"{URL}/"), "This token is of another issuer."),
    "no issuer": (token(iss=None), "This token lacks one of the claims exp, iss and aud."),
    "another audience": (token(aud="else"), "This token is not meant for this API."),
    "no audience": (token(aud=None), "This token lacks one of the claims exp, iss and aud."),
    "expired": (token(exp=NOW - 60), "This token has expired."),
    "no expiry": (token(exp=None), "This token lacks one of the claims exp, iss and aud."),
    "an expiry that is not a number": (token(exp="soon"), "This token cannot be verified."),
    "an infinite expiry": (
        token(exp=float("inf")),
        "This token cannot be verified.",
    ),
    "not valid yet": (token(nbf=NOW + 3600), "This token is not valid yet."),
    "issued in the future": (token(iat=NOW + 3600), "This token is not valid yet."),
    "an unknown key": (token(head={"kid": "?"}), "The issuer does not have this token's key."),
    "no key id where the issuer has two keys": (
        token("RS-2", head={"kid": None}),
        "This token's signature is wrong.",
    ),
    "a key id that is not text": (
        raw({**HEAD, "kid": ["RS"]}, claims()),
        "This token cannot be verified.",
    ),
    "a key id that is a path": (
        token(head={"kid": "../../dev/null"}),
        "The issuer does not have this token's key.",
    ),
    "a foreign key with a known id": (
        token("RS-other", head={"kid": "RS"}),
        "This token's signature is wrong.",
    ),
    "an embedded key": (
        token("RS-other", head={"kid": "RS", **EMBEDDED_KEY}),
        "This token's signature is wrong.",
    ),
    "the URL of a foreign key": (
        token(
            "RS-other", head={"kid": "RS", "jku": "https://evil.example/keys", "x5u": "https://e"}
        ),
        "This token's signature is wrong.",
    ),
    "an ID token": (
        token(head={"typ": "JWT"}),
        "This is not an access token: its typ is another.",
    ),
    "a logout token": (
        token(head={"typ": "logout+jwt"}),
        "This is not an access token: its typ is another.",
    ),
    "no type": (
        token(head={"typ": None}),
        "This is not an access token: its typ is another.",
    ),
    "a critical header": (
        raw({**HEAD, "crit": ["exp"], "exp": 1}, claims()),
        "This token cannot be verified.",
    ),
    "a critical header that PyJWT supports": (
        raw({**HEAD, "crit": ["b64"], "b64": True}, claims()),
        "This token has an unsupported critical header.",
    ),
    "a deeply nested header": (raw(DEEP, claims()), "This token cannot be verified."),
    "a header that is not an object": (raw([], claims()), "This token cannot be verified."),
    "a header that is not JSON": (raw(b"{", claims()), "This token cannot be verified."),
    "no parts": ("..", "This token cannot be verified."),
    "no subject": (token(sub=None), "This token's claim sub names no user."),
    "a subject that is too long": (token(sub="x" * 300), "This token's claim sub names no user."),
    "a subject with a line break": (token(sub="a\nb"), "This token's claim sub names no user."),
    "no project": (token(project=None), "This token's claim project names no project."),
    "several projects": (token(project=["a"]), "This token's claim project names no project."),
    "an invalid project": (token(project="*"), "This token's claim project names no project."),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack_is_rejected(attack: str) -> None:
    attacked_token, detail = ATTACKS[attack]
    with pytest.raises(Unauthenticated) as caught:
        build_validator().authenticate(attacked_token)
    assert (caught.value.detail, caught.value.credentials_sent) == (detail, True)


def test_tokens_without_an_attack_are_valid() -> None:
    validator = build_validator()
    for valid in (token(), token("ES"), token(algorithm="PS256"), token(aud=["else", AUDIENCE])):
        assert validator.authenticate(valid) == ALICE
    assert validator.authenticate(token(head={"typ": "application/AT+JWT"})) == ALICE
    # a clock difference within the leeway
    assert (
        validator.authenticate(token(exp=int(time.time()) - 3, nbf=int(time.time()) + 3)) == ALICE
    )


def test_key_url_of_a_token_is_not_fetched() -> None:
    issuer = FakeIssuer()
    evil = token("RS-other", head={"jku": "https://evil.example/keys", **EMBEDDED_KEY, "kid": "RS"})
    with pytest.raises(Unauthenticated):
        build_validator(issuer).authenticate(evil)
    assert {url.startswith(URL) for url in issuer.requests} == {True}


def test_role_comes_from_the_configured_claim_only() -> None:
    extra = {
        "role": "admin",
        "Roles": ["admin"],
        "scope": "admin",
        "groups": ["admin"],
        "realm_access": {"roles": ["admin"]},
        "/roles": ["admin"],
        "admin": True,
    }
    validator = build_validator()
    assert validator.authenticate(token(**extra)) == ALICE
    assert (
        validator.authenticate(token(roles=["Admin", "admin ", 7, None, ["admin"]], **extra)).role
        is None
    )
    assert validator.authenticate(token(roles={"admin": True}, **extra)).role is None


def test_project_comes_from_the_configured_claim_only() -> None:
    assert build_validator().authenticate(token(project="db", projects=["web"])).project == "db"


def test_validator_matches_jwts_and_no_api_tokens() -> None:
    validator = build_validator()
    assert not validator.matches("vmapi_0")
    assert validator.matches(token())


PARTS = st.text("abcABC019-_=.+/~", max_size=60)


@given(PARTS, PARTS, PARTS)
def test_arbitrary_parts_are_rejected_without_a_crash(head: str, body: str, signature: str) -> None:
    with pytest.raises(Unauthenticated):
        build_validator().authenticate(f"{head}.{body}.{signature}")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
NAMES = st.sampled_from(["sub", "roles", "project", "exp", "iat", "nbf", "aud", "iss", "jti"])


@given(st.dictionaries(NAMES, JSON, min_size=1, max_size=3))
def test_arbitrary_claims_cause_no_crash(other: dict[str, Any]) -> None:
    signed = jwt.api_jws.encode(
        json.dumps({**claims(), **other}).encode(),
        PRIVATE_KEYS["RS"],
        "RS256",
        {"typ": "at+jwt", "kid": "RS"},
    )
    try:
        identity = build_validator().authenticate(signed)
    except Unauthenticated:
        return
    assert isinstance(identity, Identity)


@given(st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "jwk", "b64", "x5c"]), JSON))
def test_arbitrary_header_is_rejected_without_a_crash(head: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        build_validator().authenticate(raw({**HEAD, **head}, claims()))
