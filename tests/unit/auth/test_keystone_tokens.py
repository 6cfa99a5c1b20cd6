"""Validation of Keystone tokens: request, mapping, cache, failures."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
import requests_mock
from structlog.testing import capture_logs

from tests.support.reachable_objects import holds_text
from vmapi.auth.cache import NEGATIVE_TOKEN_CACHE_SIZE
from vmapi.auth.keystone_tokens import (
    KEYSTONE_NEGATIVE_CACHE_TTL,
    UNKNOWN_BEARER_DETAIL,
    UNSCOPED_BEARER_DETAIL,
    KeystoneValidator,
)
from vmapi.domain.access.identity import Identity
from vmapi.domain.access.roles import Role
from vmapi.errors import IssuerUnavailable, Unauthenticated
from vmapi.settings.auth import parse_role_mapping

URL = "https://keystone.example.org/identity/v3"
VALIDATION_URL = f"{URL}/auth/tokens?nocatalog"
TOKEN = "gAAAAABtoken-of-alice"
USER, PROJECT = "9fd0e7c6", "a1b2c3d4"


class KeystoneHarness:
    """A fake Keystone, a validator, and a clock of the test."""

    def __init__(self, mock: requests_mock.Mocker, url: str = URL) -> None:
        self.mock = mock
        self.started_at = datetime(2026, 2, 25, tzinfo=UTC)
        self.elapsed = 0.0
        self.validator = KeystoneValidator(
            url,
            parse_role_mapping("reader=viewer,member=operator,admin=admin"),
            monotonic=lambda: self.elapsed,
            now=lambda: self.started_at.timestamp() + self.elapsed,
        )

    def respond(
        self, status: int = 200, *, roles: tuple[str, ...] = ("member",), **members: Any
    ) -> None:
        expires_at = (self.started_at + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        token = {
            "user": {"id": USER, "name": "alice"},
            "project": {"id": PROJECT, "name": "web"},
            "roles": [{"id": name, "name": name} for name in roles],
            "expires_at": expires_at,
            **members,
        }
        body = {name: value for name, value in token.items() if value is not None}
        self.mock.get(VALIDATION_URL, status_code=status, json={"token": body})

    def rejection(self) -> str:
        with pytest.raises(Unauthenticated) as caught:
            self.validator.authenticate(TOKEN)
        assert caught.value.credentials_sent
        return caught.value.detail

    @property
    def requests(self) -> int:
        return int(self.mock.call_count)


@pytest.fixture
def keystone(requests_mock: requests_mock.Mocker) -> KeystoneHarness:
    keystone = KeystoneHarness(requests_mock)
    keystone.respond()
    return keystone


def test_token_validates_itself(keystone: KeystoneHarness) -> None:
    identity = keystone.validator.authenticate(TOKEN)
    assert identity == Identity(f"keystone:{USER}", Role.OPERATOR, PROJECT)
    assert identity.caller_token is not None
    assert (identity.caller_token.value, identity.caller_token.project) == (TOKEN, PROJECT)
    headers = keystone.mock.request_history[0].headers
    assert (headers["X-Auth-Token"], headers["X-Subject-Token"]) == (TOKEN, TOKEN)


@pytest.mark.parametrize("url", [URL, f"{URL}/", URL.removesuffix("/v3")])
def test_keystone_url_may_contain_the_version(
    requests_mock: requests_mock.Mocker, url: str
) -> None:
    keystone = KeystoneHarness(requests_mock, url)
    keystone.respond()
    assert keystone.validator.authenticate(TOKEN).project == PROJECT


@pytest.mark.parametrize(
    ("roles", "role"),
    [
        (("reader",), Role.VIEWER),
        (("member", "reader"), Role.OPERATOR),
        (("admin", "member", "reader"), Role.ADMIN),
        (("Admin", "load-balancer_member"), None),
        ((), None),
    ],
)
def test_highest_keystone_role_applies(
    keystone: KeystoneHarness, roles: tuple[str, ...], role: Role | None
) -> None:
    keystone.respond(roles=roles)
    assert keystone.validator.authenticate(TOKEN).role == role


def test_valid_token_is_validated_once_in_30_seconds(keystone: KeystoneHarness) -> None:
    for seconds, count in ((0, 1), (29, 1), (2, 2)):
        keystone.elapsed += seconds
        keystone.validator.authenticate(TOKEN)
        assert keystone.requests == count


def test_token_is_validated_again_after_it_expires(keystone: KeystoneHarness) -> None:
    keystone.respond(expires_at="2026-02-25T00:00:05.000000Z")
    keystone.validator.authenticate(TOKEN)
    keystone.elapsed += 6
    keystone.respond(404)
    assert keystone.rejection() == UNKNOWN_BEARER_DETAIL


@pytest.mark.parametrize("status", [401, 404])
def test_unknown_token_is_validated_once_per_negative_ttl(
    keystone: KeystoneHarness, status: int
) -> None:
    keystone.respond(status)
    for _ in range(3):
        assert keystone.rejection() == UNKNOWN_BEARER_DETAIL
    assert keystone.requests == 1
    keystone.elapsed += KEYSTONE_NEGATIVE_CACHE_TTL + 1
    keystone.respond()
    assert keystone.validator.authenticate(TOKEN).role is Role.OPERATOR


def test_unknown_tokens_evict_no_valid_token(keystone: KeystoneHarness) -> None:
    keystone.validator.authenticate(TOKEN)
    keystone.respond(404)
    for number in range(NEGATIVE_TOKEN_CACHE_SIZE + 1):
        with pytest.raises(Unauthenticated):
            keystone.validator.authenticate(f"invented-{number}")
    before = keystone.requests
    keystone.validator.authenticate(TOKEN)
    assert keystone.requests == before


@pytest.mark.parametrize(
    "members",
    [
        {"project": None},
        {"project": {}},
        {"project": None, "system": {"all": True}},
        {"project": None, "domain": {"id": "default"}},
        {"project": {"id": "a b"}},
    ],
)
def test_token_without_a_project_is_rejected(
    keystone: KeystoneHarness, members: dict[str, Any]
) -> None:
    keystone.respond(**members)
    assert keystone.rejection() == UNSCOPED_BEARER_DETAIL


@pytest.mark.parametrize(
    "response",
    [
        {"status_code": 500},
        {"status_code": 503},
        {"status_code": 403},
        {"status_code": 302, "headers": {"Location": "https://evil.example/"}},
        {"text": "<html>"},
        {"json": []},
        {"json": {"token": {}}},
        {"json": {"token": {"user": {"id": "x"}, "expires_at": "soon"}}},
        {"exc": requests.ConnectionError},
        {"exc": requests.Timeout},
    ],
)
def test_unusable_response_is_unavailable_and_not_cached(
    keystone: KeystoneHarness, response: dict[str, Any]
) -> None:
    keystone.mock.get(VALIDATION_URL, **response)
    with capture_logs() as logs, pytest.raises(IssuerUnavailable) as caught:
        keystone.validator.authenticate(TOKEN)
    assert caught.value.retry_after == 5
    assert TOKEN not in str(logs) + caught.value.detail
    assert keystone.requests == 1
    # the failure is not cached
    keystone.respond()
    assert keystone.validator.authenticate(TOKEN).project == PROJECT


def test_cached_token_is_valid_while_keystone_is_unavailable(keystone: KeystoneHarness) -> None:
    keystone.validator.authenticate(TOKEN)
    keystone.mock.get(VALIDATION_URL, exc=requests.ConnectionError)
    assert keystone.validator.authenticate(TOKEN).project == PROJECT


def test_token_is_neither_held_nor_logged(
    keystone: KeystoneHarness, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        identity = keystone.validator.authenticate(TOKEN)
    assert TOKEN not in caplog.text + repr(identity)
    assert not holds_text(keystone.validator, TOKEN)
    assert holds_text(keystone.validator, identity.subject)
