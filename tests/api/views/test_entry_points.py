"""The entry points of newcomers: /, /docs, /problems, and URLs that are nearly right."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support.api_harness import BASE, UNKNOWN_ID, ApiHarness
from vmapi.api.problems.types import PROBLEM_TYPES

CHROMIUM_ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
FIREFOX_ACCEPT = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def get(harness: ApiHarness, path: str, **headers: str) -> TestResponse:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    # buffered: the response of a file is read and closed
    return harness.client.get(path, headers=names, buffered=True)


def not_found_detail(response: TestResponse) -> str:
    assert response.status_code == 404
    assert response.json is not None
    assert response.json["code"] == "not_found"
    return str(response.json["detail"])


@pytest.mark.parametrize("accept", [CHROMIUM_ACCEPT, FIREFOX_ACCEPT, "text/html"])
def test_root_leads_a_browser_to_the_docs_page(harness: ApiHarness, accept: str) -> None:
    response = get(harness, "/", Accept=accept)
    # relative, so that a proxy can serve vmapi below a prefix
    assert (response.status_code, response.headers["Location"]) == (302, "docs")
    assert response.headers["Vary"] == "Accept"
    page = get(harness, "/docs", Accept=accept)
    assert (page.status_code, page.mimetype) == (200, "text/html")


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/plain", ""])
def test_root_lists_entry_points_to_a_program(harness: ApiHarness, accept: str) -> None:
    response = get(harness, "/", Accept=accept)
    assert (response.status_code, response.headers["Vary"]) == (200, "Accept")
    entry_points: Any = response.json
    assert entry_points.pop("api") == BASE
    for path in entry_points.values():
        assert get(harness, path).status_code == 200
    assert set(entry_points) == {"docs", "openapi", "problems", "livez", "readyz"}


@pytest.mark.parametrize("path", ["/nothing", "/x/y", "/docs/x", "/a" * 50])
def test_detail_of_an_unknown_url_names_the_docs_page(harness: ApiHarness, path: str) -> None:
    detail = not_found_detail(harness.client.get(path))
    assert detail == f"No resource has the URL {path}. The page /docs lists all URLs."


@pytest.mark.parametrize(
    ("path", "suggestion"),
    [
        (f"{BASE}/docs", "/docs"),
        (f"{BASE}/openapi.json", "/openapi.json"),
        (f"{BASE}/livez", "/livez"),
        (f"{BASE}/problems", "/problems"),
        ("/health", f"{BASE}/health"),
        ("/vms", f"{BASE}/vms"),
        ("/v1/vms", f"{BASE}/vms"),
        ("/api/v2/vms", f"{BASE}/vms"),
        ("/api/flavors", f"{BASE}/flavors"),
        ("/api/docs", "/docs"),
        ("/Docs", "/docs"),
        ("/API/v1/Flavors", f"{BASE}/flavors"),
        ("/readyz/", "/readyz"),
        ("/ready", "/readyz"),
        ("/api", BASE),
        ("/api/", BASE),
        ("/api/v2", BASE),
        ("/v1", BASE),
        ("/swagger", "/docs"),
        (f"{BASE}/flavours", f"{BASE}/flavors"),
        (f"{BASE}/vm", f"{BASE}/vms"),
        (f"{BASE}/servers", f"{BASE}/vms"),
        (f"{BASE}/quotas", f"{BASE}/quota"),
        (f"{BASE}/tasks", f"{BASE}/operations"),
    ],
)
def test_detail_of_a_nearly_right_url_names_the_right_one(
    harness: ApiHarness, path: str, suggestion: str
) -> None:
    response = get(harness, path)
    if response.status_code != 200:
        assert f"Did you mean {suggestion}? The page /docs" in not_found_detail(response)
    assert get(harness, suggestion).status_code == 200


@pytest.mark.parametrize(
    ("word", "action"),
    [
        *(("reboot", "restart"), ("Reboot", "restart"), ("restrat", "restart")),
        *(("unpause", "resume"), ("suspend", "pause"), ("shutdown", "stop"), ("boot", "start")),
        *(("starting", "start"), ("power-off", "stop")),
    ],
)
def test_other_word_for_an_action_suggests_the_action(
    harness: ApiHarness, word: str, action: str
) -> None:
    path = f"{BASE}/vms/{UNKNOWN_ID}"
    detail = not_found_detail(harness.client.post(f"{path}/{word}"))
    assert f"Did you mean {path}/{action}? The page /docs" in detail


@pytest.mark.parametrize(("path", "target"), [(BASE, "../docs"), (f"{BASE}/", "../../docs")])
def test_base_path_answers_as_the_root(harness: ApiHarness, path: str, target: str) -> None:
    response = get(harness, path, Accept=CHROMIUM_ACCEPT)
    assert (response.status_code, response.headers["Location"]) == (302, target)
    assert get(harness, path).json == get(harness, "/").json


def test_suggestion_supports_the_method_of_the_request(harness: ApiHarness) -> None:
    created = not_found_detail(harness.client.post("/vms", json={}))
    assert f"Did you mean {BASE}/vms?" in created
    assert "Did you mean" not in not_found_detail(harness.client.delete("/vms"))


def test_problems_are_listed_with_their_explanations(harness: ApiHarness) -> None:
    response = harness.client.get("/problems")
    assert response.json is not None
    assert [item["code"] for item in response.json["items"]] == [*PROBLEM_TYPES]
    for item in response.json["items"]:
        assert harness.client.get(f"/problems/{item['code']}").json == item


def test_explanations_have_the_base_path_of_the_settings(
    serve_app: Callable[..., Flask],
) -> None:
    client = serve_app(api_version="v7").test_client()
    explanation = client.get("/problems/flavor_not_found").json
    assert explanation is not None
    assert "`GET /api/v7/flavors`" in explanation["advice"]
    body = {"name": "web-1", "flavor": "m9", "image": "cirros"}
    problem = client.post("/api/v7/vms", json=body).json
    assert problem is not None
    assert problem["detail"] == "There is no flavor m9. GET /api/v7/flavors lists all flavors."


@pytest.mark.parametrize("path", ["/docs", "/docs/assets/init.js"])
@pytest.mark.parametrize(
    "header",
    [
        {"If-Match": '"other"'},
        {"If-Match": "*"},
        {"If-Unmodified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"},
        {"Range": "bytes=999999999-"},
        {"Range": "bytes=0-3"},
    ],
)
def test_page_ignores_conditions_of_changes(
    harness: ApiHarness, path: str, header: dict[str, str]
) -> None:
    response = harness.client.get(path, headers=header, buffered=True)
    assert response.status_code == 200
    assert response.data == get(harness, path).data


@pytest.mark.parametrize("path", ["/docs", "/docs/assets/init.js"])
def test_page_is_not_sent_again_unchanged(harness: ApiHarness, path: str) -> None:
    first = get(harness, path)
    etag = first.headers["ETag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        response = get(harness, path, If_None_Match=known)
        assert (response.status_code, response.data) == (304, b"")
        for name in ("ETag", "Cache-Control", "Content-Security-Policy"):
            assert response.headers[name] == first.headers[name]
    assert get(harness, path, If_None_Match='"other"').status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/openapi.json", "/docs/reference/api.md"])
def test_document_is_not_sent_again_unchanged(harness: ApiHarness, path: str, method: str) -> None:
    first = harness.client.open(path, method=method)
    assert first.status_code == 200
    assert int(first.headers["Content-Length"]) == len(harness.client.get(path).data)
    etag = first.headers["ETag"]
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        response = harness.client.open(path, method=method, headers={"If-None-Match": known})
        assert (response.status_code, response.data) == (304, b"")
        for name in ("ETag", "Cache-Control"):
            assert response.headers[name] == first.headers[name]
    for headers in ({"If-None-Match": '"other"'}, {"If-Match": '"other"'}, {"Range": "bytes=0-3"}):
        assert harness.client.open(path, method=method, headers=headers).status_code == 200


def test_tag_of_the_openapi_document_is_that_of_its_origin(harness: ApiHarness) -> None:
    tags = {
        harness.client.get("/openapi.json", headers={"Host": host}).headers["ETag"]
        for host in ("a.example.org", "b.example.org")
    }
    assert len(tags) == 2
