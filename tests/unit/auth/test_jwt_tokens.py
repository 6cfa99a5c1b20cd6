"""Validation of JWT access tokens: cache, mapping of claims."""

import time
from typing import Any

import pytest

from tests.support.fake_issuer import ALICE, AUDIENCE, CLAIM_MAPPING, URL, FakeIssuer, token
from tests.support.reachable_objects import holds_text
from vmapi.auth import jwt_tokens
from vmapi.auth.claim_mapping import ClaimMapping
from vmapi.auth.jwt_tokens import JwtValidator
from vmapi.auth.oidc_issuer import OIDCIssuer
from vmapi.domain.access.identity import Identity
from vmapi.domain.access.roles import Role
from vmapi.errors import Unauthenticated
from vmapi.settings.auth import parse_role_mapping


class JwtHarness:
    """A validator with a clock of the test, and the number of its verifications."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.elapsed = 0.0
        self.verified = 0
        issuer = FakeIssuer()
        self.validator = JwtValidator(
            OIDCIssuer(URL, fetch=issuer.fetch),
            CLAIM_MAPPING,
            url=URL,
            audience=AUDIENCE,
            algorithms=("RS256",),
            types=("at+jwt",),
            leeway=10,
            monotonic=lambda: self.elapsed,
            now=lambda: time.time() + self.elapsed,
        )
        decode = jwt_tokens.jwt.decode

        def decode_and_count(*args: Any, **kwargs: Any) -> Any:
            self.verified += 1
            return decode(*args, **kwargs)

        monkeypatch.setattr(jwt_tokens.jwt, "decode", decode_and_count)

    def verifications_after(self, sent: str, *, after: float = 0.0) -> int:
        """Authenticate with a token after a time; return the number of verifications so far."""
        self.elapsed += after
        assert self.validator.authenticate(sent) == ALICE
        return self.verified


@pytest.fixture
def harness(monkeypatch: pytest.MonkeyPatch) -> JwtHarness:
    return JwtHarness(monkeypatch)


def test_valid_token_is_verified_once_in_30_seconds(harness: JwtHarness) -> None:
    sent = token()
    assert [harness.verifications_after(sent, after=seconds) for seconds in (0, 10, 19)] == [
        1,
        1,
        1,
    ]
    assert harness.verifications_after(sent, after=2) == 2


def test_token_is_verified_again_after_it_expires(harness: JwtHarness) -> None:
    sent = token(exp=int(time.time()) + 5)
    assert harness.verifications_after(sent) == 1
    assert harness.verifications_after(sent, after=6) == 2


def test_expired_token_within_the_leeway_is_not_cached(harness: JwtHarness) -> None:
    sent = token(exp=int(time.time()) - 2)
    assert [harness.verifications_after(sent) for _ in range(2)] == [1, 2]


def test_rejected_token_is_not_cached(harness: JwtHarness) -> None:
    sent = token(aud="else")
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            harness.validator.authenticate(sent)
    assert harness.verified == 2


def test_validator_holds_no_token(harness: JwtHarness) -> None:
    sent = token()
    harness.verifications_after(sent)
    assert not holds_text(harness.validator, sent)
    assert holds_text(harness.validator, "jwt:alice")


def map_claims(claims: dict[str, Any], **mapping: Any) -> Identity:
    defaults = {
        "subject_claim": "sub",
        "role_claim": "roles",
        "roles": parse_role_mapping("a:w=admin,ro=viewer"),
    }
    return ClaimMapping(
        **{**defaults, "project_claim": None, "default_project": "home", **mapping}
    ).to_identity({"sub": "alice", **claims})


def test_highest_role_of_the_role_claim_applies() -> None:
    assert map_claims({"roles": ["ro", "a:w", "else"]}).role is Role.ADMIN
    assert map_claims({"roles": "openid ro"}).role is Role.VIEWER
    assert map_claims({"scope": "ro openid"}, role_claim="scope").role is Role.VIEWER
    assert map_claims({"roles": "a:w=admin"}).role is None
    assert map_claims({}).role is None


def test_claim_is_a_name_or_a_json_pointer() -> None:
    claims = {"realm_access": {"roles": ["ro"]}, "https://e.org/roles": ["ro"], "a/b": {"~": "ro"}}
    for claim in ("/realm_access/roles", "https://e.org/roles", "/a~1b/~0"):
        assert map_claims(claims, role_claim=claim).role is Role.VIEWER
    for claim in ("realm_access", "/realm_access", "/realm_access/roles/0", "/nothing/at/all", "/"):
        assert map_claims(claims, role_claim=claim).role is None


def test_project_comes_from_its_claim_or_is_the_default() -> None:
    assert map_claims({"project": "web"}).project == "home"
    assert map_claims({"p": {"id": "web"}}, project_claim="/p/id").project == "web"
    # an admin has access to all projects
    assert map_claims({"roles": ["a:w"]}, project_claim="p").project == "home"
    for role in ("ro", "else"):
        with pytest.raises(Unauthenticated, match="names no project"):
            map_claims({"roles": [role]}, project_claim="p")


def test_subject_has_the_prefix_jwt() -> None:
    for name in ("ci", "anonymous", "cli:root"):
        assert map_claims({"sub": name}).subject == f"jwt:{name}"
    assert map_claims({"email": "a@b"}, subject_claim="email").subject == "jwt:a@b"
