"""What is tried with tokens, row by row: none of it opens the door."""

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
    MADE,
    URL,
    Authority,
    claims,
    public,
    token,
)
from vmapi.auth.jwt_tokens import JwtValidator
from vmapi.auth.oidc_issuer import OIDCIssuer
from vmapi.domain.identity import Identity
from vmapi.errors import Unauthenticated


def validator(authority: Authority, **other: Any) -> JwtValidator:
    given = {
        "url": URL,
        "audience": AUDIENCE,
        "algorithms": ("RS256", "PS256", "ES256"),
        "types": ("at+jwt",),
        "leeway": 10,
        **other,
    }
    return JwtValidator(OIDCIssuer(URL, fetch=authority.fetch), CLAIM_MAPPING, **given)


def raw(head: object, body: object, sign: Callable[[bytes], bytes] = lambda _: b"") -> str:
    """Return a token of any parts, signed in any way."""
    parts = [
        part if isinstance(part, bytes) else json.dumps(part).encode() for part in (head, body)
    ]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = base64.urlsafe_b64encode(sign(signed)).rstrip(b"=")
    return f"{signed.decode()}.{signature.decode()}"


def hashed(secret: bytes) -> Callable[[bytes], bytes]:
    return lambda text: hmac.new(secret, text, hashlib.sha256).digest()


PEM = MADE["RS"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
MODULUS = public("RS")["n"].encode()
NOW = int(time.time())
HEAD = {"alg": "RS256", "typ": "at+jwt", "kid": "RS"}
OWN = {"jwk": public("RS-other")}
DEEP = b"[" * 5000

ATTACKS: dict[str, tuple[str, str]] = {
    "no algorithm": (
        raw({**HEAD, "alg": "none"}, claims()),
        "This token's algorithm is not accepted.",
    ),
    "no algorithm, in another case": (
        raw({**HEAD, "alg": "NoNe"}, claims()),
        "This token's algorithm is not accepted.",
    ),
    "no signature": (raw(HEAD, claims()), "This token's signature is wrong."),
    "the public key as a secret, as PEM": (
        raw({**HEAD, "alg": "HS256"}, claims(), hashed(PEM)),
        "This token's algorithm is not accepted.",
    ),
    "the public key as a secret, as a number": (
        raw({**HEAD, "alg": "HS256"}, claims(), hashed(MODULUS)),
        "This token's algorithm is not accepted.",
    ),
    "the algorithm of another kind of key": (
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
    "another issuer, nearly the same": (token(iss=f"{URL}/"), "This token is of another issuer."),
    "no issuer": (token(iss=None), "This token lacks one of the claims exp, iss and aud."),
    "another audience": (token(aud="else"), "This token is not meant for this API."),
    "no audience": (token(aud=None), "This token lacks one of the claims exp, iss and aud."),
    "expired": (token(exp=NOW - 60), "This token has expired."),
    "no end": (token(exp=None), "This token lacks one of the claims exp, iss and aud."),
    "an end that is no number": (token(exp="soon"), "This token cannot be verified."),
    "an end beyond all numbers": (
        token(exp=float("inf")),
        "This token cannot be verified.",
    ),
    "not valid yet": (token(nbf=NOW + 3600), "This token is not valid yet."),
    "made in the future": (token(iat=NOW + 3600), "This token is not valid yet."),
    "an unknown key": (token(head={"kid": "?"}), "The issuer does not have this token's key."),
    "no key named, where there are two": (
        token("RS-2", head={"kid": None}),
        "This token's signature is wrong.",
    ),
    "a key id that is no text": (
        raw({**HEAD, "kid": ["RS"]}, claims()),
        "This token cannot be verified.",
    ),
    "a key id that is a path": (
        token(head={"kid": "../../dev/null"}),
        "The issuer does not have this token's key.",
    ),
    "another key under a known id": (
        token("RS-other", head={"kid": "RS"}),
        "This token's signature is wrong.",
    ),
    "a key of its own": (
        token("RS-other", head={"kid": "RS", **OWN}),
        "This token's signature is wrong.",
    ),
    "a key of its own, by its URL": (
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
    "a critical header that the library knows": (
        raw({**HEAD, "crit": ["b64"], "b64": True}, claims()),
        "This token has an unsupported critical header.",
    ),
    "a head that is deep": (raw(DEEP, claims()), "This token cannot be verified."),
    "a head that is no object": (raw([], claims()), "This token cannot be verified."),
    "a head that is no JSON": (raw(b"{", claims()), "This token cannot be verified."),
    "no parts": ("..", "This token cannot be verified."),
    "nobody": (token(sub=None), "This token's claim sub names no user."),
    "nobody, in many words": (token(sub="x" * 300), "This token's claim sub names no user."),
    "somebody with line ends": (token(sub="a\nb"), "This token's claim sub names no user."),
    "no project": (token(project=None), "This token's claim project names no project."),
    "several projects": (token(project=["a"]), "This token's claim project names no project."),
    "a project that is none": (token(project="*"), "This token's claim project names no project."),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_attack(attack: str) -> None:
    sent, told = ATTACKS[attack]
    with pytest.raises(Unauthenticated) as caught:
        validator(Authority()).authenticate(sent)
    assert (caught.value.detail, caught.value.credentials_sent) == (told, True)


def test_the_tokens_that_are_attacked_are_good_without_it() -> None:
    door = validator(Authority())
    for good in (token(), token("ES"), token(algorithm="PS256"), token(aud=["else", AUDIENCE])):
        assert door.authenticate(good) == ALICE
    assert door.authenticate(token(head={"typ": "application/AT+JWT"})) == ALICE
    # clocks that are a little apart
    assert door.authenticate(token(exp=int(time.time()) - 3, nbf=int(time.time()) + 3)) == ALICE


def test_a_key_of_its_own_is_not_fetched() -> None:
    authority = Authority()
    evil = token("RS-other", head={"jku": "https://evil.example/keys", **OWN, "kid": "RS"})
    with pytest.raises(Unauthenticated):
        validator(authority).authenticate(evil)
    assert {url.startswith(URL) for url in authority.asked} == {True}


def test_only_the_claims_that_are_configured_give_a_role() -> None:
    extra = {
        "role": "admin",
        "Roles": ["admin"],
        "scope": "admin",
        "groups": ["admin"],
        "realm_access": {"roles": ["admin"]},
        "/roles": ["admin"],
        "admin": True,
    }
    door = validator(Authority())
    assert door.authenticate(token(**extra)) == ALICE
    assert (
        door.authenticate(token(roles=["Admin", "admin ", 7, None, ["admin"]], **extra)).role
        is None
    )
    assert door.authenticate(token(roles={"admin": True}, **extra)).role is None


def test_only_the_project_of_the_token_counts() -> None:
    assert (
        validator(Authority()).authenticate(token(project="db", projects=["web"])).project == "db"
    )


def test_an_api_token_is_none_and_none_is_an_api_token() -> None:
    door = validator(Authority())
    assert not door.matches("vmapi_0")
    assert door.matches(token())


PARTS = st.text("abcABC019-_=.+/~", max_size=60)


@given(PARTS, PARTS, PARTS)
def test_nothing_of_three_parts_is_a_crash(head: str, body: str, signature: str) -> None:
    with pytest.raises(Unauthenticated):
        validator(Authority()).authenticate(f"{head}.{body}.{signature}")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
NAMES = st.sampled_from(["sub", "roles", "project", "exp", "iat", "nbf", "aud", "iss", "jti"])


@given(st.dictionaries(NAMES, JSON, min_size=1, max_size=3))
def test_no_claims_are_a_crash(other: dict[str, Any]) -> None:
    signed = jwt.api_jws.encode(
        json.dumps({**claims(), **other}).encode(),
        MADE["RS"],
        "RS256",
        {"typ": "at+jwt", "kid": "RS"},
    )
    try:
        found = validator(Authority()).authenticate(signed)
    except Unauthenticated:
        return
    assert isinstance(found, Identity)


@given(st.dictionaries(st.sampled_from(["alg", "typ", "kid", "crit", "jwk", "b64", "x5c"]), JSON))
def test_no_head_is_a_crash(head: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        validator(Authority()).authenticate(raw({**HEAD, **head}, claims()))
