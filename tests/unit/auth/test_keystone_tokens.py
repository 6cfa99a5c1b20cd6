"""Keystone's tokens: asked of Keystone, remembered for a while, and in our terms."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
import requests_mock
from structlog.testing import capture_logs

from tests.support.reachable_objects import holds_text
from vmapi.auth import keystone_tokens as keystone
from vmapi.auth.cache import NEGATIVE_TOKEN_CACHE_SIZE
from vmapi.auth.keystone_tokens import KeystoneValidator
from vmapi.domain.identity import Identity
from vmapi.domain.roles import Role
from vmapi.errors import IssuerUnavailable, Unauthenticated
from vmapi.settings.auth import parse_role_mapping

URL = "https://keystone.example.org/identity/v3"
ASKED = f"{URL}/auth/tokens?nocatalog"
TOKEN = "gAAAAABtoken-of-alice"
USER, PROJECT = "9fd0e7c6", "a1b2c3d4"


class Cloud:
    """A Keystone, a validator in front of it, and the time."""

    def __init__(self, mock: requests_mock.Mocker, url: str = URL) -> None:
        self.mock = mock
        self.began = datetime(2026, 2, 25, tzinfo=UTC)
        self.later = 0.0
        self.tokens = KeystoneValidator(
            url,
            parse_role_mapping("reader=viewer,member=operator,admin=admin"),
            monotonic=lambda: self.later,
            now=lambda: self.began.timestamp() + self.later,
        )

    def says(self, status: int = 200, *, roles: tuple[str, ...] = ("member",), **more: Any) -> None:
        ends = (self.began + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        about = {
            "user": {"id": USER, "name": "alice"},
            "project": {"id": PROJECT, "name": "web"},
            "roles": [{"id": name, "name": name} for name in roles],
            "expires_at": ends,
            **more,
        }
        body = {name: value for name, value in about.items() if value is not None}
        self.mock.get(ASKED, status_code=status, json={"token": body})

    def refused(self) -> str:
        with pytest.raises(Unauthenticated) as caught:
            self.tokens.authenticate(TOKEN)
        assert caught.value.credentials_sent
        return caught.value.detail

    @property
    def asked(self) -> int:
        return int(self.mock.call_count)


@pytest.fixture
def cloud(requests_mock: requests_mock.Mocker) -> Cloud:
    cloud = Cloud(requests_mock)
    cloud.says()
    return cloud


def test_it_is_asked_with_the_token_itself(cloud: Cloud) -> None:
    found = cloud.tokens.authenticate(TOKEN)
    assert found == Identity(f"keystone:{USER}", Role.OPERATOR, PROJECT)
    assert found.caller_token is not None
    assert (found.caller_token.value, found.caller_token.project) == (TOKEN, PROJECT)
    sent = cloud.mock.request_history[0].headers
    assert (sent["X-Auth-Token"], sent["X-Subject-Token"]) == (TOKEN, TOKEN)


@pytest.mark.parametrize("url", [URL, f"{URL}/", URL.removesuffix("/v3")])
def test_its_url_may_have_a_version(requests_mock: requests_mock.Mocker, url: str) -> None:
    cloud = Cloud(requests_mock, url)
    cloud.says()
    assert cloud.tokens.authenticate(TOKEN).project == PROJECT


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
def test_roles(cloud: Cloud, roles: tuple[str, ...], role: Role | None) -> None:
    cloud.says(roles=roles)
    assert cloud.tokens.authenticate(TOKEN).role == role


def test_an_answer_is_remembered_for_half_a_minute(cloud: Cloud) -> None:
    for after, asked in ((0, 1), (29, 1), (2, 2)):
        cloud.later += after
        cloud.tokens.authenticate(TOKEN)
        assert cloud.asked == asked


def test_but_not_beyond_the_end_of_the_token(cloud: Cloud) -> None:
    cloud.says(expires_at="2026-02-25T00:00:05.000000Z")
    cloud.tokens.authenticate(TOKEN)
    cloud.later += 6
    cloud.says(404)
    assert cloud.refused() == keystone.UNKNOWN_BEARER_DETAIL


@pytest.mark.parametrize("status", [401, 404])
def test_that_it_is_none_is_remembered_too(cloud: Cloud, status: int) -> None:
    cloud.says(status)
    for _ in range(3):
        assert cloud.refused() == keystone.UNKNOWN_BEARER_DETAIL
    assert cloud.asked == 1
    cloud.later += keystone.KEYSTONE_NEGATIVE_CACHE_TTL + 1
    cloud.says()
    assert cloud.tokens.authenticate(TOKEN).role is Role.OPERATOR


def test_wrong_ones_do_not_drive_out_good_ones(cloud: Cloud) -> None:
    cloud.tokens.authenticate(TOKEN)
    cloud.says(404)
    for number in range(NEGATIVE_TOKEN_CACHE_SIZE + 1):
        with pytest.raises(Unauthenticated):
            cloud.tokens.authenticate(f"made-up-{number}")
    before = cloud.asked
    cloud.tokens.authenticate(TOKEN)
    assert cloud.asked == before


@pytest.mark.parametrize(
    "other",
    [
        {"project": None},
        {"project": {}},
        {"project": None, "system": {"all": True}},
        {"project": None, "domain": {"id": "default"}},
        {"project": {"id": "a b"}},
    ],
)
def test_it_has_to_be_for_a_project(cloud: Cloud, other: dict[str, Any]) -> None:
    cloud.says(**other)
    assert cloud.refused() == keystone.UNSCOPED_BEARER_DETAIL


@pytest.mark.parametrize(
    "answer",
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
def test_one_that_does_not_say_is_unavailable(cloud: Cloud, answer: dict[str, Any]) -> None:
    cloud.mock.get(ASKED, **answer)
    with capture_logs() as logs, pytest.raises(IssuerUnavailable) as caught:
        cloud.tokens.authenticate(TOKEN)
    assert caught.value.retry_after == 5
    assert TOKEN not in str(logs) + caught.value.detail
    assert cloud.asked == 1
    # it is asked again
    cloud.says()
    assert cloud.tokens.authenticate(TOKEN).project == PROJECT


def test_while_it_is_away_who_is_remembered_gets_in(cloud: Cloud) -> None:
    cloud.tokens.authenticate(TOKEN)
    cloud.mock.get(ASKED, exc=requests.ConnectionError)
    assert cloud.tokens.authenticate(TOKEN).project == PROJECT


def test_nothing_of_a_token_is_kept_or_logged(
    cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        found = cloud.tokens.authenticate(TOKEN)
    assert TOKEN not in caplog.text + repr(found)
    assert not holds_text(cloud.tokens, TOKEN)
    assert holds_text(cloud.tokens, found.subject)
