"""Bearer tokens: missing, malformed, unknown and revoked ones."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.api_harness import BASE, ApiHarness
from tests.support.auth_harness import AuthHarness
from tests.support.event_stream import OpenStream
from vmapi.auth import api_tokens
from vmapi.domain.access.api_token import generate_token
from vmapi.errors import StoreUnavailable
from vmapi.server import body_writer
from vmapi.store.api_tokens import ApiTokenRepository


@pytest.fixture
def auth_harness(harness: ApiHarness) -> AuthHarness:
    return AuthHarness(harness)


CHALLENGE = 'Bearer realm="vmapi"'
INVALID = f'{CHALLENGE}, error="invalid_token"'


@pytest.mark.parametrize(
    ("sent", "challenge"),
    [
        ({}, CHALLENGE),
        ({"Authorization": ""}, CHALLENGE),
        ({"Authorization": "Basic dXNlcjpwYXNz"}, CHALLENGE),
        ({"Authorization": "Bearer"}, INVALID),
        ({"Authorization": "Bearer two words"}, INVALID),
        ({"Authorization": "Bearer a, Bearer b"}, INVALID),
        ({"Authorization": "Bearer é"}, INVALID),
        ({"Authorization": f"bearer {generate_token()}"}, INVALID),
        ({"Authorization": f"Bearer vmapi_{'x' * 42}"}, INVALID),
        ({"Authorization": f"Bearer {'x' * 100_000}"}, INVALID),
        ({"X-Auth-Token": "gAAAAA"}, CHALLENGE),
        ({"Cookie": "token=x"}, CHALLENGE),
    ],
)
def test_401_has_bearer_challenge(
    auth_harness: AuthHarness, sent: dict[str, str], challenge: str
) -> None:
    response = auth_harness.harness.call("GET", "/vms", headers=sent)
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, challenge)
    assert response.json["code"] == "unauthenticated"


def test_bearer_scheme_is_case_insensitive(auth_harness: AuthHarness) -> None:
    token = auth_harness.create_token("viewer")
    for scheme in ("Bearer", "bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} {token}"}
        assert auth_harness.harness.call("GET", "/vms", headers=headers).status_code == 200


def test_several_spaces_before_token_are_accepted(auth_harness: AuthHarness) -> None:
    token = auth_harness.create_token("viewer")
    for sent, status in ((f"Bearer   {token} ", 200), (f"Bearer\t{token}", 401)):
        response = auth_harness.harness.call("GET", "/vms", headers={"Authorization": sent})
        assert response.status_code == status


def test_token_in_url_or_form_is_ignored(auth_harness: AuthHarness) -> None:
    token = auth_harness.create_token("admin")
    for name in ("access_token", "token", "api_key"):
        response = auth_harness.call("GET", f"/vms?{name}={token}")
        assert response.status_code == 401
        assert token not in response.text
    form = {"access_token": token}
    assert auth_harness.call("POST", "/vms", data=form).status_code == 401


def test_unknown_token_without_store_is_503(
    auth_harness: AuthHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_unavailable(*_: object) -> None:
        raise StoreUnavailable("away")

    token = auth_harness.create_token("viewer")
    assert auth_harness.call("GET", "/flavors", token).status_code == 200
    monkeypatch.setattr(ApiTokenRepository, "find_by_digest", raise_unavailable)
    assert auth_harness.call("GET", "/flavors", token).status_code == 200
    response = auth_harness.call("GET", "/flavors", generate_token())
    assert (response.status_code, response.json["code"]) == (503, "store_unavailable")
    assert response.headers["Retry-After"] == "5"
    assert auth_harness.client.get("/livez").status_code == 200


def test_revoked_token_is_401(auth_harness: AuthHarness) -> None:
    token = auth_harness.create_token("viewer")
    assert auth_harness.call("GET", "/vms", token).status_code == 200
    ((created, _),) = auth_harness.harness.services.api_tokens.list_tokens()
    assert auth_harness.harness.services.api_tokens.revoke(created.id, "cli:me")
    fresh = AuthHarness(auth_harness.harness)
    response = fresh.call("GET", "/vms", token)
    assert (response.status_code, response.json["detail"]) == (401, "This API token is revoked.")


def test_stream_ends_when_token_is_revoked(
    harness: ApiHarness, open_stream: OpenStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    # no cache: the revocation takes effect at once
    monkeypatch.setattr(api_tokens, "API_TOKEN_CACHE_TTL", 0.0)
    stream = open_stream(token=AuthHarness(harness).create_token("viewer"))
    stream.read_heartbeat()
    ((created, _),) = harness.services.api_tokens.list_tokens()
    harness.services.api_tokens.revoke(created.id, "cli:me")
    assert list(stream.remaining_blocks()) == []


def test_stream_survives_unavailable_store(
    harness: ApiHarness, open_stream: OpenStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = []

    def raise_unavailable(*_: object) -> None:
        checks.append(1)
        raise StoreUnavailable("away")

    monkeypatch.setattr(api_tokens, "API_TOKEN_CACHE_TTL", 0.0)
    monkeypatch.setattr(body_writer, "CREDENTIALS_CHECK_SECONDS", 0.0)
    harness.services.events.heartbeat_interval = 0.01
    stream = open_stream(token=AuthHarness(harness).create_token("viewer"))
    monkeypatch.setattr(ApiTokenRepository, "find_by_digest", raise_unavailable)
    while len(checks) < 3:
        stream.read_heartbeat()


HEADER = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=300)


@given(HEADER, st.sampled_from(["", "Bearer ", "Bearer vmapi_", "Bearer eyJ", "Basic "]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_authorization_header_never_crashes(
    auth_harness: AuthHarness, text: str, before: str
) -> None:
    environ = {"HTTP_AUTHORIZATION": before + text}
    response = auth_harness.client.get(f"{BASE}/flavors", environ_overrides=environ)
    assert response.status_code == 401
