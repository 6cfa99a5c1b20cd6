"""Request ids, access log lines, health checks and the documentation page."""

import re
from collections.abc import Callable
from urllib.parse import urljoin

import pytest
from flask import Flask

from tests.support.api_harness import BASE, CREATE_BODY, UNKNOWN_ID, ApiHarness
from tests.support.factories import GENERATED_REQUEST_ID
from tests.support.log_capture import Capture, read_logs
from vmapi import errors
from vmapi.domain.access.api_token import generate_token
from vmapi.telemetry.logging import configure


@pytest.mark.parametrize(
    "sent",
    ["a", "req-1", "0123", "A.b_c:d-e", "x" * 128, "req-6b0c6a6e-0b0e-4c55-9f0e-0c8f3c3f3a11"],
)
def test_valid_request_id_is_used(harness: ApiHarness, sent: str) -> None:
    for path in (f"{BASE}/health", "/nothing", "/livez", "/docs", "/openapi.json"):
        response = harness.client.get(path, headers={"X-Request-ID": sent}, buffered=True)
        assert response.headers["X-Request-ID"] == sent


@pytest.mark.parametrize(
    "sent", ["", "x" * 129, "-a", "a b", "a,b", "é", "<script>", "a;b", "../x"]
)
def test_invalid_request_id_is_replaced(harness: ApiHarness, sent: str) -> None:
    response = harness.client.get("/livez", headers={"X-Request-ID": sent})
    assert GENERATED_REQUEST_ID.fullmatch(response.headers["X-Request-ID"])


def test_generated_request_ids_are_unique(harness: ApiHarness) -> None:
    ids = {harness.call("GET", "/nothing").headers["X-Request-ID"] for _ in range(5)}
    assert len(ids) == 5


def test_responses_forbid_content_sniffing(harness: ApiHarness) -> None:
    for path in (f"{BASE}/health", "/nothing", "/docs", "/openapi.json"):
        assert (
            harness.client.get(path, buffered=True).headers["X-Content-Type-Options"] == "nosniff"
        )


def test_each_request_writes_one_log_line(harness: ApiHarness, capsys: Capture) -> None:
    configure("INFO")
    harness.call("GET", f"/vms/{UNKNOWN_ID}", headers={"X-Request-ID": "mine"})
    (line,) = read_logs(capsys)
    assert line.pop("duration_ms") >= 0
    assert line.pop("timestamp")
    assert line == {
        "message": "request",
        "logger": "vmapi.access",
        "level": "info",
        "request_id": "mine",
        "user": "anonymous",
        "endpoint": f"GET {BASE}/vms/{UNKNOWN_ID}",
        "vm_id": UNKNOWN_ID,
        "status": 404,
    }


def test_log_of_create_has_vm_id_and_status(harness: ApiHarness, capsys: Capture) -> None:
    configure("INFO")
    response = harness.post("/vms", {**CREATE_BODY, "user_data": "hunter2"})
    ended, request = read_logs(capsys)
    assert "hunter2" not in str([ended, request])
    assert (ended["message"], request["message"]) == ("vm create succeeded", "request")
    assert ended["vm_id"] == request["vm_id"] == response.json["id"]
    assert response.headers["Operation-Location"].endswith(ended["operation_id"])
    assert ended["request_id"] == request["request_id"] == response.headers["X-Request-ID"]


def test_log_of_failed_operation_has_problem_code(harness: ApiHarness, capsys: Capture) -> None:
    configure("INFO")
    harness.backend.set_faults("no_capacity=1")
    fault = harness.create()["fault"]
    ended, _ = read_logs(capsys)
    assert ended["message"] == "vm create failed"
    assert (ended["code"], ended["reason"]) == ("no_capacity", fault["message"])


def test_log_of_request_without_vm_has_no_vm_id(harness: ApiHarness, capsys: Capture) -> None:
    configure("INFO")
    harness.client.get("/nothing%0Aforged")
    (line,) = read_logs(capsys)
    assert (line["vm_id"], line["status"]) == (None, 404)
    assert line["endpoint"] == "GET /nothing\nforged"


def test_log_hides_a_token_in_the_path(harness: ApiHarness, capsys: Capture) -> None:
    configure("INFO")
    harness.client.get(f"/api/v1/{generate_token()}/{generate_token()}")
    (line,) = read_logs(capsys)
    assert line["endpoint"] == "GET /api/v1/vmapi_***/vmapi_***"


def test_health_reports_status_version_and_time(harness: ApiHarness) -> None:
    body = harness.get_json("/health")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", body.pop("timestamp"))
    assert body == {"status": "healthy", "version": "v1"}


def test_health_and_livez_work_without_cloud(harness: ApiHarness) -> None:
    harness.backend.set_faults("unavailable=100%")
    assert harness.call("GET", "/health").status_code == 200
    response = harness.client.get("/livez")
    assert (response.status_code, response.json) == (200, {"status": "alive"})


def test_readyz_reports_every_dependency(harness: ApiHarness) -> None:
    response = harness.client.get("/readyz")
    assert (response.status_code, response.json) == (
        200,
        {"status": "ready", "dependencies": {"backend": "ok", "store": "ok"}},
    )


@pytest.mark.parametrize(
    "error", [errors.BackendUnavailable("x"), errors.BackendTimeout("x"), errors.Forbidden("x")]
)
def test_readyz_without_cloud_is_degraded(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch, error: errors.VmapiError
) -> None:
    def ping() -> None:
        raise error

    monkeypatch.setattr(harness.backend, "ping", ping)
    response = harness.client.get("/readyz")
    assert (response.status_code, response.json) == (
        200,
        {"status": "degraded", "dependencies": {"backend": error.code, "store": "ok"}},
    )


def test_readyz_while_draining_is_503(harness: ApiHarness) -> None:
    harness.services.draining.set()
    response = harness.client.get("/readyz")
    assert (response.status_code, response.json) == (
        503,
        {"status": "draining", "dependencies": {"backend": "ok", "store": "ok"}},
    )
    assert harness.call("GET", "/health").status_code == 200


def test_docs_page_loads_only_own_assets(harness: ApiHarness) -> None:
    page = harness.client.get("/docs", buffered=True)
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assets = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert assets
    for asset in assets:
        url = urljoin("/docs", asset)
        assert url.startswith("/")
        assert harness.client.get(url, buffered=True).status_code == 200
    nothing = harness.client.get("/docs/assets/README.md")
    assert (nothing.status_code, nothing.json["code"]) == (404, "not_found")


def test_head_and_options_are_supported(harness: ApiHarness) -> None:
    head = harness.call("HEAD", "/flavors")
    assert (head.status_code, head.data) == (200, b"")
    options = harness.call("OPTIONS", "/flavors")
    assert sorted(options.headers["Allow"].split(", ")) == ["GET", "HEAD", "OPTIONS"]


def test_api_version_sets_base_path(serve_app: Callable[..., Flask]) -> None:
    client = serve_app(api_version="v2").test_client()
    assert client.get(f"{BASE}/health").status_code == 404
    health = client.get("/api/v2/health").json
    assert health is not None
    assert health["version"] == "v2"
    created = client.post("/api/v2/vms", json=CREATE_BODY)
    assert created.headers["Location"].startswith("/api/v2/vms/")
    assert created.headers["Operation-Location"].startswith("/api/v2/operations/")
