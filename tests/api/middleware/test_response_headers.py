"""Security headers, caching headers and CORS headers."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.api_harness import BASE, CREATE_BODY, ApiHarness
from tests.support.processes import ROOT
from vmapi.api.middleware.security_headers import DOCS_PAGE_HEADERS, SECURITY_HEADERS
from vmapi.server.error_response import problem_response

ORIGIN = "https://console.example.org"
OTHER = "http://127.0.0.1:3000"
FOREIGN = [
    "https://evil.example",
    f"{ORIGIN}.evil.example",
    f"{ORIGIN}:444",
    "http://console.example.org",
    "https://CONSOLE.example.org",
    f"{ORIGIN}/",
    f"{ORIGIN}, {OTHER}",
    "null",
    "*",
    "",
]
CORS = "Access-Control-"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{BASE}/vms", 200),
        ("HEAD", f"{BASE}/flavors", 200),
        ("OPTIONS", f"{BASE}/vms", 200),
        ("POST", f"{BASE}/vms", 400),
        ("DELETE", f"{BASE}/vms/x", 404),
        ("PUT", f"{BASE}/vms", 405),
        ("GET", "/nothing", 404),
        ("GET", "/livez", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/problems/forbidden", 200),
        ("GET", "/docs/", 308),
        ("GET", "/docs/assets/none", 404),
    ],
)
def test_every_response_has_security_headers(
    harness: ApiHarness, method: str, path: str, status: int
) -> None:
    response = harness.client.open(path, method=method)
    assert response.status_code == status
    assert {name: response.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert "Cross-Origin-Opener-Policy" not in response.headers
    assert [name for name, _ in response.headers if name.startswith(CORS)] == []


@pytest.mark.parametrize("path", ["/docs", "/docs/assets/init.js", "/docs/assets/swagger-ui.css"])
def test_docs_page_may_load_own_assets(harness: ApiHarness, path: str) -> None:
    response = harness.client.get(path, buffered=True)
    expected = SECURITY_HEADERS | DOCS_PAGE_HEADERS
    assert {name: response.headers[name] for name in expected} == expected
    assert "unsafe" not in response.headers["Content-Security-Policy"]


def test_flask_responses_have_security_headers() -> None:
    gunicorn = problem_response("malformed_request", "x", "mine").decode()
    nginx = (ROOT / "config/nginx.conf").read_text().replace('"', "")
    for name, value in SECURITY_HEADERS.items():
        assert gunicorn.count(f"\r\n{name}: {value}\r\n") == 1
        # the problems of nginx
        assert nginx.count(f" {name} {value} always;") >= 1, name


def test_cache_control_of_each_resource(harness: ApiHarness) -> None:
    created = harness.post("/vms", CREATE_BODY)
    for response in (
        created,
        harness.call("GET", "/vms"),
        harness.call("GET", f"/vms/{created.json['id']}"),
    ):
        assert response.headers["Cache-Control"] == "private, no-cache"
    for response in (harness.post("/vms", CREATE_BODY), harness.call("GET", "/vms/x")):
        assert response.headers["Cache-Control"] == "no-store"
    asset = harness.client.get("/docs/assets/init.js", buffered=True)
    assert asset.headers["Cache-Control"] == "public, max-age=3600"


@pytest.fixture
def cors_client(serve_app: Callable[..., Flask]) -> Any:
    return serve_app(cors_origins=(ORIGIN, OTHER)).test_client()


def cors_headers(response: TestResponse) -> dict[str, str]:
    return {name: value for name, value in response.headers.items() if name.startswith(CORS)}


@pytest.mark.parametrize("origin", [ORIGIN, OTHER])
@pytest.mark.parametrize("path", [f"{BASE}/vms", "/nothing", f"{BASE}/vms/x", "/openapi.json"])
def test_allowed_origin_reads_all_headers(cors_client: Any, path: str, origin: str) -> None:
    response = cors_client.get(path, headers={"Origin": origin})
    shown = cors_headers(response)
    exposed = set(shown.pop("Access-Control-Expose-Headers").split(", "))
    assert shown == {"Access-Control-Allow-Origin": origin}
    assert response.headers["Vary"] == "Origin"
    assert exposed >= {
        *("Location", "Operation-Location", "ETag", "Retry-After", "Link", "Age"),
        *("X-Request-ID", "Idempotent-Replayed", "Preference-Applied"),
    }


def preflight(client: Any, path: str, origin: str) -> TestResponse:
    preflight_headers = {
        "Access-Control-Request-Method": "DELETE",
        "Access-Control-Request-Headers": "prefer",
    }
    response: TestResponse = client.options(path, headers={"Origin": origin, **preflight_headers})
    return response


@pytest.mark.parametrize("path", [f"{BASE}/vms", "/nothing", f"{BASE}/vms/x/stop"])
def test_preflight_precedes_authentication(cors_client: Any, path: str) -> None:
    def never() -> None:
        raise AssertionError

    # before authentication and rate limits
    cors_client.application.before_request(never)
    response = preflight(cors_client, path, ORIGIN)
    assert (response.status_code, response.data) == (204, b"")
    shown = cors_headers(response)
    assert shown["Access-Control-Allow-Origin"] == ORIGIN
    assert shown["Access-Control-Allow-Methods"] == "GET, HEAD, POST, PATCH, DELETE"
    taken = set(shown["Access-Control-Allow-Headers"].split(", "))
    assert taken >= {"Authorization", "Content-Type", "Idempotency-Key", "If-Match", "Prefer"}
    assert "Access-Control-Allow-Credentials" not in shown
    assert (response.headers["Vary"], response.headers["X-Request-ID"][:4]) == ("Origin", "req-")


@pytest.mark.parametrize("origin", FOREIGN)
def test_other_origin_gets_no_cors_headers(cors_client: Any, origin: str) -> None:
    for response in (
        cors_client.get(f"{BASE}/vms", headers={"Origin": origin}),
        preflight(cors_client, f"{BASE}/vms", origin),
    ):
        assert (response.status_code, cors_headers(response)) == (200, {})
        assert response.headers["Vary"] == "Origin"


@pytest.mark.parametrize("origin", [ORIGIN, *FOREIGN])
def test_without_origins_there_are_no_cors_headers(harness: ApiHarness, origin: str) -> None:
    for response in (
        harness.call("GET", "/vms", headers={"Origin": origin}),
        preflight(harness.client, f"{BASE}/vms", origin),
    ):
        assert (response.status_code, cors_headers(response), "Vary" in response.headers) == (
            200,
            {},
            False,
        )


def test_plain_options_request_reaches_flask(cors_client: Any) -> None:
    response = cors_client.options(f"{BASE}/flavors", headers={"Origin": ORIGIN})
    assert (response.status_code, "GET" in response.headers["Allow"]) == (200, True)
