"""Arbitrary header values: never a 500, and always a valid request id."""

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from tests.support.api_harness import BASE, CREATE_BODY, UNKNOWN_ID, ApiHarness
from vmapi.api.middleware.access_log import REQUEST_ID_PATTERN

# servers accept more than RFC 9110, section 5.5: everything but CR, LF and NUL
RAW = st.text(st.characters(max_codepoint=0xFF, exclude_characters="\r\n\0"), max_size=300)
WORDS = (
    *("wait", "=", "5", "60", "9" * 30, "respond-async", "no-cache", "max-age", "-1", ",", ";"),
    *("q", "*", "/", "application", "json", "text", "charset", "utf-8", "boundary", '"', "\\", " "),
    *("W/", "Bearer", "Basic", "a", "é", "Ã©", "٣", "\t", "[", "]", ":", "@", "%00", "bytes"),
)
SHAPED = st.lists(st.sampled_from(WORDS), max_size=12).map("".join)
VALUES = RAW | SHAPED.map(lambda text: "".join(c for c in text if ord(c) < 256))
HEADERS = (
    *("X-Request-ID", "Prefer", "Idempotency-Key", "Cache-Control", "Content-Type", "Accept"),
    *("Host", "Authorization", "Origin", "X-Auth-Token", "X-Forwarded-For", "Range", "Cookie"),
    *("If-None-Match", "If-Match", "If-Modified-Since", "Accept-Encoding", "Content-Encoding"),
    *("Accept-Language", "Access-Control-Request-Method", "Referer", "User-Agent", "Expect"),
    *("Forwarded", "Date", "Transfer-Encoding", "Content-Length", "Last-Event-ID", "Pragma"),
)
REQUESTS: tuple[tuple[str, str, Any], ...] = (
    ("GET", f"{BASE}/vms", None),
    ("GET", "/docs/assets/init.js", None),
    ("POST", f"{BASE}/vms", {**CREATE_BODY, "image": "none"}),
    ("PATCH", f"{BASE}/vms/{UNKNOWN_ID}", {}),
    ("DELETE", f"{BASE}/vms/{UNKNOWN_ID}", None),
    ("OPTIONS", f"{BASE}/vms", None),
    ("GET", "/nothing", None),
)
KEY = re.compile(r"[ -~]{1,255}")
PATIENT = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def send_headers(
    harness: ApiHarness, request: tuple[str, str, Any], headers: list[tuple[str, str]]
) -> TestResponse:
    """Send headers as a WSGI server passes them: bytes decoded as Latin-1."""
    method, path, body = request
    environ = {}
    for name, value in headers:
        key = name.upper().replace("-", "_")
        plain = key in ("CONTENT_TYPE", "CONTENT_LENGTH")
        environ[key if plain else f"HTTP_{key}"] = value
    response: TestResponse = harness.client.open(
        path, method=method, json=body, environ_overrides=environ, buffered=True
    )
    check_response(response)
    return response


def check_response(response: TestResponse) -> None:
    assert response.status_code < 500, response.text
    assert REQUEST_ID_PATTERN.fullmatch(response.headers["X-Request-ID"])
    for name, value in response.headers.items():
        assert not re.search(r"[\r\n\0]", name + value)


@pytest.mark.fuzz
@pytest.mark.parametrize("name", HEADERS)
@PATIENT
@given(data=st.data())
def test_arbitrary_header_never_crashes(
    harness: ApiHarness, name: str, data: st.DataObject
) -> None:
    request = data.draw(st.sampled_from(REQUESTS))
    send_headers(harness, request, [(name, data.draw(VALUES))])


@PATIENT
@given(
    request=st.sampled_from(REQUESTS),
    headers=st.lists(st.tuples(st.sampled_from(HEADERS), VALUES), max_size=6),
)
def test_arbitrary_headers_together_never_crash(
    harness: ApiHarness, request: tuple[str, str, Any], headers: list[tuple[str, str]]
) -> None:
    send_headers(harness, request, headers)


@PATIENT
@given(sent=VALUES)
@example(sent="a\n")
@example(sent="a" * 128)
def test_request_id_is_used_unchanged_or_replaced(harness: ApiHarness, sent: str) -> None:
    shown = send_headers(harness, REQUESTS[0], [("X-Request-ID", sent)]).headers["X-Request-ID"]
    assert shown == sent or (not REQUEST_ID_PATTERN.fullmatch(sent) and shown.startswith("req-"))


@PATIENT
@given(sent=VALUES.filter(bool))
@example(sent="k" * 255)
@example(sent="k" * 256)
def test_idempotency_key_is_used_unchanged_or_refused(harness: ApiHarness, sent: str) -> None:
    response = send_headers(harness, REQUESTS[4], [("Idempotency-Key", sent)])
    expected = "vm_not_found" if KEY.fullmatch(sent) else "malformed_request"
    assert response.json is not None
    assert response.json["code"] == expected


@PATIENT
@given(sent=VALUES)
def test_arbitrary_preference_is_ignored(harness: ApiHarness, sent: str) -> None:
    response = send_headers(harness, ("POST", f"{BASE}/vms", CREATE_BODY), [("Prefer", sent)])
    assert response.status_code in (201, 409)
    applied = response.headers.get("Preference-Applied", "wait=1")
    assert 1 <= int(applied.removeprefix("wait=")) <= 60


@PATIENT
@given(sent=VALUES)
def test_arbitrary_content_type_is_json_or_refused(harness: ApiHarness, sent: str) -> None:
    response = send_headers(harness, REQUESTS[2], [("Content-Type", sent)])
    assert response.json is not None
    media_type = sent.partition(";")[0].strip().lower()
    expected = (
        {"image_not_found"} if media_type == "application/json" else {"unsupported_media_type"}
    )
    assert response.json["code"] in expected
