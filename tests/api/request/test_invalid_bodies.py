"""Bodies that are no JSON object, have another media type or coding, or are too large."""

import json
from io import BytesIO

import pytest
from werkzeug.test import TestResponse

from tests.support.api_harness import CREATE_BODY, UNKNOWN_ID, ApiHarness
from tests.support.problem_responses import JSON, check_problem, send_json


@pytest.mark.parametrize(
    "body",
    [
        b" ",
        b"{",
        b"{} {}",
        b"{'name': 'web-1'}",
        b'{"name": "web-1",}',
        b'{"name": NaN}',
        b'{"name": Infinity}',
        b'{"name": -Infinity}',
        b'{"name": 01}',
        b'{"a": 1, "a": 2}',
        b'{"metadata": {"a": "1", "a": "2"}}',
        b'{"name": "\xff"}',
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b'{"name": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"name": "\\ud800\\ud800"}',
        b'{"name": "a\nb"}',
        b"\0",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 5_000 + b"]" * 5_000,
        b"1" * 5_000,
        b'{"a": 1' + b"0" * 5_000 + b"}",
        b"name=web-1",
        b"<vm/>",
    ],
    ids=lambda body: repr(body[:24]),
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_body_that_is_not_json_is_refused(harness: ApiHarness, method: str, body: bytes) -> None:
    path = "/vms" if method == "POST" else f"/vms/{UNKNOWN_ID}"
    check_problem(send_json(harness, body, path, method), 400, "malformed_request")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"name": "\xff"}', "The body is not UTF-8."),
        (b'{"name": "\\ud800"}', "The body contains an unpaired surrogate."),
        (b'{"\\udfff": 1}', "The body contains an unpaired surrogate."),
        (b'{"a": ' + b"1" * 5_000 + b"}", "The body is not JSON: a number has too many digits."),
        (b"\xef\xbb\xbf{}", "Send the body without a byte order mark."),
        (
            b'{"a": 1, "b": {"c": 1, "c": 2}}',
            'The body repeats the key "c".',
        ),
        (
            b'{"\\udfff": 1, "\\udfff": 2}',
            'The body repeats the key "\\udfff".',
        ),
        (
            b'{"' + b"k" * 5_000 + b'": 1, "' + b"k" * 5_000 + b'": 2}',
            f'The body repeats the key "{"k" * 100}".',
        ),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_detail_explains_why_body_is_not_json(
    harness: ApiHarness, body: bytes, message: str
) -> None:
    assert check_problem(send_json(harness, body), 400, "malformed_request")["detail"] == message


def test_missing_body_is_refused(harness: ApiHarness) -> None:
    for method, path in (("POST", "/vms"), ("PATCH", f"/vms/{harness.create_running()}")):
        problem = check_problem(harness.call(method, path), 400, "malformed_request")
        assert problem["detail"] == "The body is empty. Send a JSON object."


@pytest.mark.parametrize("body", [b"null", b"[]", b'"x"', b"1", b"1e999", b"true", b"[{}]"])
def test_json_body_that_is_not_an_object_is_refused(harness: ApiHarness, body: bytes) -> None:
    problem = check_problem(send_json(harness, body), 422, "validation_error")
    assert problem["errors"][0]["pointer"] == ""


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        *((body, JSON) for body in (b'{"type": "hard"}', b"[]", b"null", b"{", b"[{}]", b"\xff")),
        (b"x", "text/plain"),
        (b"a=b", "application/x-www-form-urlencoded"),
    ],
    ids=lambda value: repr(value)[:20],
)
@pytest.mark.parametrize("action", ["start", "stop", "pause", "resume", "delete"])
def test_body_of_endpoint_without_body_is_refused(
    harness: ApiHarness, action: str, body: bytes, media_type: str
) -> None:
    vm_id = harness.create_running()
    method, path = ("DELETE", "") if action == "delete" else ("POST", f"/{action}")
    response = harness.call(method, f"/vms/{vm_id}{path}", data=body, content_type=media_type)
    problem = check_problem(response, 422, "validation_error")
    assert problem["errors"] == [{"pointer": "", "message": "This endpoint takes no body."}]
    assert harness.get_vm(vm_id)["status"] == "RUNNING"


def test_empty_object_counts_as_no_body(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    assert harness.post(f"/vms/{vm_id}/stop", {}).status_code == 200
    assert send_json(harness, "{ }\n", f"/vms/{vm_id}", "DELETE").status_code == 204


@pytest.mark.parametrize("body", [b"{}", b"x", b'{"a": 1}', b"x" * 1_048_577])
@pytest.mark.parametrize("path", ["", "/status", "/console"])
def test_body_of_get_is_ignored(harness: ApiHarness, path: str, body: bytes) -> None:
    url = f"/vms/{harness.create_running()}{path}"
    for method in ("GET", "HEAD"):
        assert harness.call(method, url, data=body, content_type="text/plain").status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("POST", "/vms"), ("PATCH", f"/vms/{UNKNOWN_ID}"), ("DELETE", f"/vms/{UNKNOWN_ID}")),
        ("POST", f"/vms/{UNKNOWN_ID}/stop"),
    ],
)
def test_body_over_the_limit_is_refused(harness: ApiHarness, method: str, path: str) -> None:
    check_problem(send_json(harness, b"x" * 1_048_577, path, method), 413, "payload_too_large")


def send_chunked(
    harness: ApiHarness, body: bytes, method: str, path: str, **headers: str
) -> TestResponse:
    """Send a chunked body, without its length."""
    response: TestResponse = harness.call(
        method,
        path,
        input_stream=BytesIO(body),
        headers={"Content-Type": JSON, "Transfer-Encoding": "chunked", **headers},
        environ_overrides={"wsgi.input_terminated": True},
    )
    return response


def test_chunked_body_over_the_limit_is_refused(harness: ApiHarness) -> None:
    json_body, key = json.dumps(CREATE_BODY).encode(), {"Idempotency-Key": "k"}
    for more in (1, 2, 1_048_576):
        response = send_chunked(harness, json_body.ljust(1_048_576 + more), "POST", "/vms", **key)
        check_problem(response, 413, "payload_too_large")
    assert harness.get_json("/vms")["total"] == 0
    full = json_body.ljust(1_048_576)
    assert send_chunked(harness, full, "POST", "/vms", **key).status_code == 201
    again = send_chunked(harness, full, "POST", "/vms", **key)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (201, "true")
    check_problem(
        send_chunked(harness, full + b" ", "POST", "/vms", **key), 413, "payload_too_large"
    )


@pytest.mark.parametrize("path", ["", "/stop"])
def test_chunked_body_over_the_limit_is_refused_by_endpoint_without_body(
    harness: ApiHarness, path: str
) -> None:
    vm_id = harness.create_running()
    method = "POST" if path else "DELETE"
    response = send_chunked(harness, b"{}".ljust(1_048_577), method, f"/vms/{vm_id}{path}")
    check_problem(response, 413, "payload_too_large")
    assert harness.get_vm(vm_id)["status"] == "RUNNING"
