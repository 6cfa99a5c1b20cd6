"""Keystone tokens in X-Auth-Token or as bearer tokens."""

import pytest
import requests_mock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.api_harness import ApiHarness
from tests.support.auth_harness import AuthHarness

URL = "https://keystone.example.org/v3"
GOOD = "gAAAAABgood"


@pytest.fixture
def auth_harness(harness: ApiHarness, requests_mock: requests_mock.Mocker) -> AuthHarness:
    about = {
        "user": {"id": "u1"},
        "project": {"id": "p1"},
        "roles": [{"name": "reader"}],
        "expires_at": "2126-02-25T00:00:00.000000Z",
    }
    requests_mock.get(f"{URL}/auth/tokens?nocatalog", status_code=404)
    requests_mock.get(
        f"{URL}/auth/tokens?nocatalog",
        request_headers={"X-Subject-Token": GOOD},
        json={"token": about},
    )
    return AuthHarness(harness, auth=("token", "keystone"), keystone_url=URL)


def test_keystone_token_is_accepted_in_either_header(auth_harness: AuthHarness) -> None:
    for headers in ({"X-Auth-Token": GOOD}, {"Authorization": f"Bearer {GOOD}"}):
        assert auth_harness.call("GET", "/vms", headers=headers).status_code == 200
        response = auth_harness.call("POST", "/vms", headers=headers, json={})
        assert (response.status_code, response.json["role_needed"]) == (403, "operator")
        assert response.json["detail"] == "This needs the role operator; keystone:u1 has viewer."


def test_tokens_in_both_headers_are_400(auth_harness: AuthHarness) -> None:
    headers = {"X-Auth-Token": GOOD}
    response = auth_harness.call("GET", "/vms", auth_harness.create_token("admin"), headers=headers)
    assert (response.status_code, response.json["code"]) == (400, "malformed_request")


def test_api_token_is_not_sent_to_keystone(
    auth_harness: AuthHarness, requests_mock: requests_mock.Mocker
) -> None:
    assert auth_harness.call("GET", "/vms", auth_harness.create_token("viewer")).status_code == 200
    assert auth_harness.call("GET", "/vms", "vmapi_wrong").status_code == 401
    assert requests_mock.call_count == 0


@pytest.mark.parametrize("sent", ["wrong", "", "two words", "é", "x" * 9000])
def test_invalid_keystone_token_is_401(auth_harness: AuthHarness, sent: str) -> None:
    response = auth_harness.call("GET", "/vms", headers={"X-Auth-Token": sent})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="vmapi", error="invalid_token"'


@given(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=300))
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_keystone_token_never_crashes(auth_harness: AuthHarness, text: str) -> None:
    environ = {"HTTP_X_AUTH_TOKEN": text}
    assert auth_harness.call("GET", "/flavors", environ_overrides=environ).status_code == 401
