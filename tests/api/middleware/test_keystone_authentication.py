"""Keystone tokens in X-Auth-Token or as bearer tokens."""

from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest
import requests_mock
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.support import fake_issuer
from tests.support.api_harness import ApiHarness
from tests.support.auth_harness import AuthHarness
from tests.support.blocking_source import GUARD_TIMEOUT, wait_until
from tests.support.fake_openstack import Stall, serve_openstack
from vmapi.auth.authenticator import MISDIRECTED_BEARER_DETAIL
from vmapi.settings.settings import Settings

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


@pytest.mark.parametrize("schemes", [("token", "keystone"), ("keystone",)])
def test_api_token_in_the_keystone_header_is_refused_here(
    harness: ApiHarness, requests_mock: requests_mock.Mocker, schemes: tuple[str, ...]
) -> None:
    auth_harness = AuthHarness(harness, auth=schemes, keystone_url=URL)
    for token in (auth_harness.create_token("viewer"), "vmapi_cut-off", "vmapi_"):
        response = auth_harness.call("GET", "/vms", headers={"X-Auth-Token": token})
        assert (response.status_code, response.json["code"]) == (401, "unauthenticated")
        assert response.json["detail"] == MISDIRECTED_BEARER_DETAIL
        assert token not in response.text
    response = auth_harness.call("GET", "/vms", "vmapi_cut-off")
    assert (response.status_code, requests_mock.call_count) == (401, 0)


def test_token_of_the_issuer_in_the_keystone_header_is_refused_here(
    harness: ApiHarness, requests_mock: requests_mock.Mocker
) -> None:
    settings = {"jwt_issuer": fake_issuer.URL, "jwt_audience": fake_issuer.AUDIENCE}
    schemes = ("jwt", "keystone")
    auth_harness = AuthHarness(harness, auth=schemes, keystone_url=URL, **settings)
    headers = {"X-Auth-Token": fake_issuer.token("RS")}
    response = auth_harness.call("GET", "/vms", headers=headers)
    assert (response.status_code, response.json["detail"]) == (401, MISDIRECTED_BEARER_DETAIL)
    assert requests_mock.call_count == 0


def test_jwt_of_another_issuer_is_validated_by_keystone(
    harness: ApiHarness, requests_mock: requests_mock.Mocker
) -> None:
    requests_mock.get(f"{URL}/auth/tokens?nocatalog", status_code=404)
    settings = {"jwt_issuer": "https://other.example.org", "jwt_audience": "vmapi"}
    auth_harness = AuthHarness(harness, auth=("jwt", "keystone"), keystone_url=URL, **settings)
    headers = {"X-Auth-Token": fake_issuer.token("RS")}
    assert auth_harness.call("GET", "/vms", headers=headers).status_code == 401
    assert requests_mock.call_count == 1


def test_hanging_keystone_delays_no_api_token(harness: ApiHarness) -> None:
    with serve_openstack() as keystone, ThreadPoolExecutor(16) as pool:
        keystone.reply_to("GET", "/identity/v3/auth/tokens", Stall(GUARD_TIMEOUT))
        url = f"{keystone.url}/identity/v3"
        auth_harness = AuthHarness(harness, auth=("token", "keystone"), keystone_url=url)
        token = auth_harness.create_token("viewer")

        def send(headers: dict[str, str]) -> int:
            client = harness.app.test_client()
            return client.get("/api/v1/vms", headers=headers).status_code

        futures = [pool.submit(send, {"X-Auth-Token": f"made-up-{n}"}) for n in range(16)]
        refused = next(as_completed(futures, GUARD_TIMEOUT))
        assert refused.result() == 503
        assert send({"Authorization": f"Bearer {token}"}) == 200
        slots = Settings().threads // 2
        wait_until(lambda: keystone.count_requests("GET", "/identity/v3/auth/tokens") == slots)
        keystone.closing.set()
        assert {future.result(GUARD_TIMEOUT) for future in futures} == {503}
    assert keystone.count_requests("GET", "/identity/v3/auth/tokens") == slots


@pytest.mark.parametrize("sent", ["wrong", "", "two words", "é", "x" * 9000])
def test_invalid_keystone_token_is_401(auth_harness: AuthHarness, sent: str) -> None:
    response = auth_harness.call("GET", "/vms", headers={"X-Auth-Token": sent})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="vmapi", error="invalid_token"'


@given(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=300))
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_keystone_token_never_crashes(auth_harness: AuthHarness, text: str) -> None:
    environ = {"HTTP_X_AUTH_TOKEN": text}
    assert auth_harness.call("GET", "/flavors", environ_overrides=environ).status_code == 401
