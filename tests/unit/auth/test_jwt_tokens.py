"""Verified tokens: for how long they are remembered, and what claims say in our terms."""

import time
from typing import Any

import pytest

from tests.support.fake_issuer import ALICE, AUDIENCE, CLAIM_MAPPING, URL, Authority, token
from tests.support.reachable_objects import holds_text
from vmapi.auth import jwt_tokens
from vmapi.auth.claim_mapping import ClaimMapping
from vmapi.auth.jwt_tokens import JwtValidator
from vmapi.auth.oidc_issuer import OIDCIssuer
from vmapi.domain.identity import Identity
from vmapi.domain.roles import Role
from vmapi.errors import Unauthenticated
from vmapi.settings.auth import parse_role_mapping


class Door:
    """A validator whose time goes on when a test says so, and what it has verified."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.later = 0.0
        self.verified = 0
        authority = Authority()
        self.tokens = JwtValidator(
            OIDCIssuer(URL, fetch=authority.fetch),
            CLAIM_MAPPING,
            url=URL,
            audience=AUDIENCE,
            algorithms=("RS256",),
            types=("at+jwt",),
            leeway=10,
            monotonic=lambda: self.later,
            now=lambda: time.time() + self.later,
        )
        decode = jwt_tokens.jwt.decode

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.verified += 1
            return decode(*args, **kwargs)

        monkeypatch.setattr(jwt_tokens.jwt, "decode", counted)

    def asked(self, sent: str, *, after: float = 0.0) -> int:
        """Let a token in, and return how many were verified until then."""
        self.later += after
        assert self.tokens.authenticate(sent) == ALICE
        return self.verified


@pytest.fixture
def door(monkeypatch: pytest.MonkeyPatch) -> Door:
    return Door(monkeypatch)


def test_a_verified_token_is_remembered_for_half_a_minute(door: Door) -> None:
    sent = token()
    assert [door.asked(sent, after=seconds) for seconds in (0, 10, 19)] == [1, 1, 1]
    assert door.asked(sent, after=2) == 2


def test_but_not_beyond_its_end(door: Door) -> None:
    sent = token(exp=int(time.time()) + 5)
    assert door.asked(sent) == 1
    assert door.asked(sent, after=6) == 2


def test_nor_within_the_leeway_after_it(door: Door) -> None:
    sent = token(exp=int(time.time()) - 2)
    assert [door.asked(sent) for _ in range(2)] == [1, 2]


def test_a_refused_one_is_not(door: Door) -> None:
    sent = token(aud="else")
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            door.tokens.authenticate(sent)
    assert door.verified == 2


def test_nothing_of_it_is_kept(door: Door) -> None:
    sent = token()
    door.asked(sent)
    assert not holds_text(door.tokens, sent)
    assert holds_text(door.tokens, "jwt:alice")


def mapped(claims: dict[str, Any], **other: Any) -> Identity:
    given = {
        "subject_claim": "sub",
        "role_claim": "roles",
        "roles": parse_role_mapping("a:w=admin,ro=viewer"),
    }
    return ClaimMapping(
        **{**given, "project_claim": None, "default_project": "home", **other}
    ).to_identity({"sub": "alice", **claims})


def test_roles_are_those_that_the_settings_name_the_greatest_first() -> None:
    assert mapped({"roles": ["ro", "a:w", "else"]}).role is Role.ADMIN
    assert mapped({"roles": "openid ro"}).role is Role.VIEWER
    assert mapped({"scope": "ro openid"}, role_claim="scope").role is Role.VIEWER
    assert mapped({"roles": "a:w=admin"}).role is None
    assert mapped({}).role is None


def test_a_claim_may_be_deep() -> None:
    claims = {"realm_access": {"roles": ["ro"]}, "https://e.org/roles": ["ro"], "a/b": {"~": "ro"}}
    for place in ("/realm_access/roles", "https://e.org/roles", "/a~1b/~0"):
        assert mapped(claims, role_claim=place).role is Role.VIEWER
    for place in ("realm_access", "/realm_access", "/realm_access/roles/0", "/nothing/at/all", "/"):
        assert mapped(claims, role_claim=place).role is None


def test_the_project() -> None:
    assert mapped({"project": "web"}).project == "home"
    assert mapped({"p": {"id": "web"}}, project_claim="/p/id").project == "web"
    # an admin sees all of them anyway
    assert mapped({"roles": ["a:w"]}, project_claim="p").project == "home"
    for role in ("ro", "else"):
        with pytest.raises(Unauthenticated, match="names no project"):
            mapped({"roles": [role]}, project_claim="p")


def test_what_an_issuer_calls_somebody_is_no_name_of_ours() -> None:
    for name in ("ci", "anonymous", "cli:root"):
        assert mapped({"sub": name}).subject == f"jwt:{name}"
    assert mapped({"email": "a@b"}, subject_claim="email").subject == "jwt:a@b"
