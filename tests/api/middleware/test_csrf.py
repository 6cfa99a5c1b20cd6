"""Foreign web pages against a server that accepts anonymous callers."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from tests.support.api_harness import BASE, CREATE_BODY, UNKNOWN_ID, ApiHarness
from tests.support.auth_harness import AuthHarness

ORIGIN = "https://console.example.org"
FOREIGN_ORIGIN = "https://evil.example"
PAGE = "A web page of another origin sent this request, and vmapi requires no token here."
CROSS_SITE_HEADERS = {"Sec-Fetch-Site": "cross-site", "Origin": FOREIGN_ORIGIN}


def refusal_detail(response: TestResponse) -> str | None:
    """Return the detail of a refusal; None without one."""
    if response.status_code != 403:
        return None
    assert response.json is not None
    assert response.json["code"] == "forbidden"
    return str(response.json["detail"])


@pytest.fixture
def cors_client(serve_app: Callable[..., Flask]) -> FlaskClient:
    return serve_app(
        auth=("none",), cors_origins=(ORIGIN,), bind="vmapi.example:8000"
    ).test_client()


@pytest.mark.parametrize(
    "headers",
    [
        CROSS_SITE_HEADERS,
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        # no browser sends these
        {"Sec-Fetch-Site": "cross-origin"},
        {"Sec-Fetch-Site": "Same-Origin"},
        {"Sec-Fetch-Site": ""},
        {"Sec-Fetch-Site": "same-origin, cross-site"},
        {"Sec-Fetch-Site": "unknown", "Origin": "http://localhost"},
        # browsers send the first header only to https and to this machine
        {"Origin": FOREIGN_ORIGIN},
        {"Origin": "null"},
        {"Origin": "http://[::1"},
        # a page from another server on this machine
        {"Origin": "http://localhost:3000"},
        {"Origin": "https://localhost:8443"},
        {"Origin": "http://localhost", "Host": "localhost:8000"},
        {"Origin": "http://localhost:3000", "Host": "localhost:8000"},
        {"Origin": "https://localhost:80"},
        {"Origin": "http://localhost:443"},
        {"Origin": "http://localhost:99999"},
        {"Origin": "file://localhost", "Host": "localhost:8000"},
    ],
)
def test_cross_site_request_cannot_change_anything(
    harness: ApiHarness, headers: dict[str, str]
) -> None:
    vm_id = harness.create_running()
    for method, path in (("POST", f"/{vm_id}/stop"), ("DELETE", f"/{vm_id}"), ("POST", "")):
        response = harness.call(method, f"/vms{path}", headers=headers)
        assert str(refusal_detail(response)).startswith(PAGE)
    (vm,) = harness.get_json("/vms")["items"]
    assert (vm["status"], vm["task"]) == ("RUNNING", None)
    for path in ("/vms", f"/vms/{vm_id}", "/flavors"):
        assert harness.call("GET", path, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://localhost"},
        {"Origin": "http://localhost:80"},
        # a proxy may terminate TLS
        {"Origin": "https://localhost"},
        {"Origin": "https://localhost", "Host": "localhost:443"},
        {"Origin": "https://localhost:8443", "Host": "localhost:8443"},
        {"Origin": "http://[::1]:8000", "Host": "[::1]:8000"},
        {"Origin": "http://LOCALHOST:8000", "Host": "localhost:8000"},
    ],
)
def test_scripts_and_docs_page_can_change(harness: ApiHarness, headers: dict[str, str]) -> None:
    assert harness.call("POST", "/vms", json=CREATE_BODY, headers=headers).status_code == 201


def test_configured_origin_can_change(cors_client: FlaskClient) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": ORIGIN}
    assert cors_client.post(f"{BASE}/vms", json=CREATE_BODY, headers=headers).status_code == 201
    response = cors_client.post(f"{BASE}/vms", json=CREATE_BODY, headers=CROSS_SITE_HEADERS)
    assert (
        refusal_detail(response)
        == f"{PAGE} To allow it, add {FOREIGN_ORIGIN} to VMAPI_CORS_ORIGINS."
    )


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example"])
@pytest.mark.parametrize(("method", "path"), [("GET", "/vms"), ("POST", f"/vms/{UNKNOWN_ID}/stop")])
def test_foreign_host_name_is_refused(
    harness: ApiHarness, host: str, method: str, path: str
) -> None:
    headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    message = refusal_detail(harness.call(method, path, headers=headers))
    assert f"does not serve the host name {host.partition(':')[0]}:" in str(message)


@pytest.mark.parametrize("host", ["[::1", "evil.example.", "EVIL.example", "127.1.1"])
def test_host_name_similar_to_ours_is_refused(harness: ApiHarness, host: str) -> None:
    assert refusal_detail(harness.call("GET", "/vms", headers={"Host": host})) is not None


OWN_HOSTS = ["localhost", "127.0.0.1:8000", "[::1]:8000", "192.0.2.7", "vmapi:8000", "a.localhost"]


@pytest.mark.parametrize("host", OWN_HOSTS)
def test_own_addresses_and_local_names_are_served(harness: ApiHarness, host: str) -> None:
    assert harness.call("GET", "/vms", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["vmapi.example", "VMAPI.example:80", "console.example.org"])
def test_configured_host_names_are_served(cors_client: FlaskClient, host: str) -> None:
    assert cors_client.get(f"{BASE}/vms", headers={"Host": host}).status_code == 200
    assert (
        refusal_detail(cors_client.get(f"{BASE}/vms", headers={"Host": "evil.example"})) is not None
    )


def test_public_endpoint_is_served_under_any_name(harness: ApiHarness) -> None:
    for path in ("/livez", "/readyz", "/openapi.json", "/docs"):
        response = harness.client.get(path, headers={"Host": "evil.example"}, buffered=True)
        assert response.status_code == 200


def test_caller_with_token_is_not_checked(harness: ApiHarness) -> None:
    door = AuthHarness(harness, auth=("none", "token"))
    headers = {**CROSS_SITE_HEADERS, "Host": "vmapi.example"}
    token = door.create_token("operator")
    response = door.call("POST", "/vms", token, json=CREATE_BODY, headers=headers)
    assert response.status_code == 201
    assert refusal_detail(door.call("POST", "/vms", json=CREATE_BODY, headers=headers)) is not None


def test_host_name_is_not_checked_when_tokens_are_required(
    serve_app: Callable[..., Flask], tmp_path: Any
) -> None:
    app = serve_app(auth=("token",), database_url=f"sqlite:///{tmp_path}/vmapi.sqlite3")
    headers = {**CROSS_SITE_HEADERS, "Host": "vmapi.example"}
    response = app.test_client().post(f"{BASE}/vms/{UNKNOWN_ID}/stop", headers=headers)
    assert response.status_code == 401


TEXT = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=60)


@given(TEXT, TEXT, TEXT)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arbitrary_host_and_origin_never_crash(
    harness: ApiHarness, host: str, origin: str, site: str
) -> None:
    environ = {"HTTP_HOST": host, "HTTP_ORIGIN": origin, "HTTP_SEC_FETCH_SITE": site}
    response = harness.client.post(f"{BASE}/vms/{UNKNOWN_ID}/stop", environ_overrides=environ)
    assert response.status_code in (400, 403, 404)
