"""Media types and content codings of bodies, and headers without an effect."""

import gzip
import json

import pytest

from tests.support.api_harness import CREATE_BODY, UNKNOWN_ID, ApiHarness
from tests.support.problem_responses import JSON, check_problem


@pytest.mark.parametrize(
    "media_type",
    [
        *("", "text/plain", "text/json", "application/xml", "application/x-www-form-urlencoded"),
        *("multipart/form-data; boundary=x", "application/merge-patch+json", "application/jsonx"),
        *("application/vnd.api+json", "*/*", "é", "x" * 5000, "application/json-patch+json"),
    ],
)
def test_other_media_type_is_refused(harness: ApiHarness, media_type: str) -> None:
    response = harness.call("POST", "/vms", data=json.dumps(CREATE_BODY), content_type=media_type)
    check_problem(response, 415, "unsupported_media_type")
    restart = f"/vms/{harness.create_running()}/restart"
    response = harness.call("POST", restart, data="{}", content_type=media_type)
    check_problem(response, 415, "unsupported_media_type")


@pytest.mark.parametrize("media_type", ["text/plain", "application/json-patch+json", ""])
def test_other_media_type_of_patch_is_refused(harness: ApiHarness, media_type: str) -> None:
    response = harness.call("PATCH", f"/vms/{UNKNOWN_ID}", data="{}", content_type=media_type)
    check_problem(response, 415, "unsupported_media_type")


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "nonsense"])
@pytest.mark.parametrize(("method", "path"), [("POST", "/vms"), ("PATCH", f"/vms/{UNKNOWN_ID}")])
def test_compressed_body_is_refused(
    harness: ApiHarness, method: str, path: str, coding: str
) -> None:
    plain = json.dumps(CREATE_BODY).encode()
    for body in (plain, gzip.compress(plain)):
        headers = {"Content-Encoding": coding, "Content-Type": JSON}
        response = harness.call(method, path, data=body, headers=headers)
        problem = check_problem(response, 415, "unsupported_media_type")
        assert problem["detail"] == f"Send no Content-Encoding; the request has {coding}."
        assert response.headers["Accept-Encoding"] == "identity"
    assert harness.get_json("/vms")["total"] == 0


@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
def test_identity_encoding_is_accepted(harness: ApiHarness, coding: str) -> None:
    response = harness.call("POST", "/vms", json=CREATE_BODY, headers={"Content-Encoding": coding})
    assert response.status_code == 201
    response = harness.call("POST", "/vms", data="x", content_type="text/plain")
    assert "Accept-Encoding" not in response.headers


@pytest.mark.parametrize("media_type", [JSON, "Application/JSON", f"{JSON}; charset=utf-8"])
def test_json_media_type_variants_are_accepted(harness: ApiHarness, media_type: str) -> None:
    response = harness.call("POST", "/vms", data=json.dumps(CREATE_BODY), content_type=media_type)
    assert response.status_code == 201


@pytest.mark.parametrize(
    "headers",
    [
        {"Accept": "text/html"},
        {"Accept": "nonsense"},
        {"Accept-Charset": "\x7f"},
        {"Range": "bytes=0-1"},
        {"If-Modified-Since": "nonsense"},
        {"Authorization": "Basic ????"},
        {"Cookie": "a=\x01; b"},
        {"Expect": "nonsense"},
        {"X-Forwarded-Host": "evil.example"},
        {"Host": "localhost:99999"},
    ],
)
def test_irrelevant_headers_are_ignored(harness: ApiHarness, headers: dict[str, str]) -> None:
    response = harness.call("GET", "/vms", headers=headers)
    assert (response.status_code, response.mimetype) == (200, JSON)
    assert "evil" not in response.text
