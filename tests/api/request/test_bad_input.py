"""Invalid input of every kind: a problem that names the fault, never a 500."""

import gzip
import json
import re
from io import BytesIO
from random import Random
from string import ascii_letters, digits
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.api_harness import BASE, CREATE_BODY, UNKNOWN_ID, ApiHarness
from tests.support.memory_cloud import remove_instances
from vmapi.api.problems.schema import ProblemSchema

JSON = "application/json"
HUGE = "x" * 1_000_000
SCRIPT = "<script>alert(1)</script>"
SQL = "'; DROP TABLE vms; --"
WRONG_TYPES: list[Any] = [None, 0, -1, 1.5, 10**400, True, [], [[]], {}, {"a": {}}, ""]
TEXTS = ("name", "flavor", "image", "network", "key_name")
ACTIONS = ("start", "stop", "restart", "pause", "resume")


def check_problem(response: TestResponse, status: int, code: str) -> Any:
    assert (response.status_code, response.content_type) == (status, "application/problem+json")
    assert response.json is not None
    assert response.json["code"] == code
    assert ProblemSchema().validate(response.json) == {}
    assert len(response.data) < 30_000
    return response.json


def send_json(
    harness: ApiHarness, body: bytes | str, path: str = "/vms", method: str = "POST"
) -> TestResponse:
    return harness.call(method, path, data=body, content_type=JSON)


# Fields


@pytest.mark.parametrize("value", WRONG_TYPES, ids=lambda value: repr(value)[:12])
@pytest.mark.parametrize("field", TEXTS)
def test_string_field_with_wrong_type_is_refused(
    harness: ApiHarness, field: str, value: Any
) -> None:
    problem = check_problem(
        harness.post("/vms", {**CREATE_BODY, field: value}), 422, "validation_error"
    )
    assert [error["pointer"] for error in problem["errors"]] == [f"/{field}"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("start", value) for value in WRONG_TYPES if value is not True),
        *(("metadata", value) for value in [*WRONG_TYPES, "a"] if value != {}),
        *(("user_data", value) for value in WRONG_TYPES if value != ""),
        *(("ssh_keys", value) for value in [*WRONG_TYPES, "a", [1], [None]] if value != []),
        *(("security_groups", value) for value in [*WRONG_TYPES, [1], [""]] if value != []),
    ],
    ids=lambda value: repr(value)[:12],
)
def test_other_field_with_wrong_type_is_refused(
    harness: ApiHarness, field: str, value: Any
) -> None:
    problem = check_problem(
        harness.post("/vms", {**CREATE_BODY, field: value}), 422, "validation_error"
    )
    pointers = [error["pointer"] for error in problem["errors"]]
    assert all(pointer.startswith(f"/{field}") for pointer in pointers)


@pytest.mark.parametrize("field", TEXTS)
@pytest.mark.parametrize("value", [HUGE, "a\0b", SCRIPT * 30, SQL * 30])
def test_string_field_too_long_or_with_nul_is_refused(
    harness: ApiHarness, field: str, value: str
) -> None:
    problem = check_problem(
        harness.post("/vms", {**CREATE_BODY, field: value}), 422, "validation_error"
    )
    assert [error["pointer"] for error in problem["errors"]] == [f"/{field}"]


@pytest.mark.parametrize("value", [SCRIPT, SQL, "../../etc/passwd", "%s%n", "${jndi:x}", "é\u202e"])
@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("name", "validation_error"),
        ("flavor", "flavor_not_found"),
        ("image", "image_not_found"),
        ("network", "network_not_found"),
        ("key_name", "key_not_found"),
    ],
)
def test_malicious_string_is_refused(
    harness: ApiHarness, field: str, code: str, value: str
) -> None:
    check_problem(harness.post("/vms", {**CREATE_BODY, field: value}), 422, code)


@pytest.mark.parametrize("key", ["", "_schema", "a/b", "a~b", "id", "status", "Name", HUGE, "\0"])
def test_unknown_field_is_refused(harness: ApiHarness, key: str) -> None:
    for method, path in (("POST", "/vms"), ("PATCH", f"/vms/{harness.create_running()}")):
        body = {**CREATE_BODY, key: 1} if method == "POST" else {key: 1}
        check_problem(harness.call(method, path, json=body), 422, "validation_error")
        remove_instances(harness.backend.cloud)


def test_json_pointer_is_escaped(harness: ApiHarness) -> None:
    problem = check_problem(
        harness.post("/vms", {**CREATE_BODY, "a/b~c": 1}), 422, "validation_error"
    )
    (error,) = problem["errors"]
    assert error["pointer"] == "/a~1b~0c"
    assert error["message"].startswith("Unknown field. The fields are: ")


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_empty_key_has_a_json_pointer(harness: ApiHarness, method: str) -> None:
    body, path = ({**CREATE_BODY}, "") if method == "POST" else ({}, f"/{UNKNOWN_ID}")
    for sent, pointer in (({"metadata": {"": "x"}}, "/metadata/"), ({"": 1}, "/")):
        problem = check_problem(
            harness.call(method, f"/vms{path}", json={**body, **sent}), 422, "validation_error"
        )
        assert [error["pointer"] for error in problem["errors"]] == [pointer]


@pytest.mark.parametrize("name", ["-abc", ".abc", "_abc", "ünï", "ab", "a" * 64])
def test_invalid_vm_name_is_refused(harness: ApiHarness, name: str) -> None:
    message = (
        "Must have 3 to 63 characters of A-Z a-z 0-9 . _ - and begin with a letter or a digit."
    )
    for method, path, body in (
        ("POST", "/vms", {**CREATE_BODY, "name": name}),
        ("PATCH", f"/vms/{UNKNOWN_ID}", {"name": name}),
    ):
        problem = check_problem(harness.call(method, path, json=body), 422, "validation_error")
        assert problem["errors"] == [{"pointer": "/name", "message": message}]


def test_every_invalid_field_is_listed(harness: ApiHarness) -> None:
    body = {"name": "x", "metadata": {"vmapi.x": "", "ok": "", "é": ""}, "ssh_keys": ["a"], "b": 1}
    problem = check_problem(harness.post("/vms", body), 422, "validation_error")
    assert {error["pointer"] for error in problem["errors"]} == {
        *("/name", "/flavor", "/image", "/metadata/vmapi.x", "/metadata/é", "/ssh_keys/0", "/b"),
    }


def test_number_of_listed_errors_is_limited(harness: ApiHarness) -> None:
    body = {**CREATE_BODY, **{f"k{n}": 1 for n in range(1000)}}
    problem = check_problem(harness.post("/vms", body), 422, "validation_error")
    assert len(problem["errors"]) == 20


def test_user_data_too_long_for_the_cloud_is_refused(harness: ApiHarness) -> None:
    noise = "".join(Random(1).choices(ascii_letters + digits + "!?", k=65_536))
    assert harness.post("/vms", {**CREATE_BODY, "user_data": "x" * 65_536}).status_code == 201
    body = {
        **CREATE_BODY,
        "name": "web-2",
        "user_data": noise,
        "ssh_keys": ["ssh-rsa " + "A" * 372],
    }
    problem = check_problem(harness.post("/vms", body), 422, "validation_error")
    (error,) = problem["errors"]
    assert error["pointer"] == "/user_data"
    assert re.fullmatch(r"takes \d{5} characters, packed; the cloud takes 65535", error["message"])


def test_unknown_key_pair_is_named_in_detail(harness: ApiHarness) -> None:
    problem = check_problem(
        harness.post("/vms", {**CREATE_BODY, "key_name": "mine"}), 422, "key_not_found"
    )
    assert problem["detail"] == "There is no key pair mine."


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"name": None}, "/name"),
        ({"name": "x"}, "/name"),
        ({"metadata": None}, "/metadata"),
        ({"metadata": {"vmapi.x": None}}, "/metadata/vmapi.x"),
        ({"metadata": {"a": 1}}, "/metadata/a"),
        ({"flavor": "m1.small"}, "/flavor"),
        ([], ""),
        ("web-1", ""),
        (None, ""),
        (1, ""),
    ],
)
def test_invalid_patch_is_refused(harness: ApiHarness, body: Any, pointer: str) -> None:
    path = f"/vms/{harness.create_running()}"
    problem = check_problem(
        send_json(harness, json.dumps(body), path, "PATCH"), 422, "validation_error"
    )
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


def test_patch_exceeding_metadata_limit_is_refused(harness: ApiHarness) -> None:
    vm_id = harness.create_running(metadata={str(n): "" for n in range(127)})
    response = harness.call("PATCH", f"/vms/{vm_id}", json={"metadata": {"one more": ""}})
    problem = check_problem(response, 422, "validation_error")
    assert problem["errors"][0]["pointer"] == "/metadata"


def test_patch_with_more_keys_than_a_create_is_refused(harness: ApiHarness) -> None:
    pairs = {str(n): "" for n in range(127)}
    vm_id = harness.create_running(metadata=pairs)
    for count, value in ((128, ""), (128, None), (62_000, None)):
        sent = {f"k{n}": value for n in range(count)}
        response = harness.call("PATCH", f"/vms/{vm_id}", json={"metadata": sent})
        message = {"pointer": "/metadata", "message": "At most 127 keys are allowed."}
        assert check_problem(response, 422, "validation_error")["errors"] == [message]
    removals = dict.fromkeys(pairs)
    response = harness.call("PATCH", f"/vms/{vm_id}", json={"metadata": removals})
    assert (response.status_code, response.json["metadata"]) == (200, {})


@pytest.mark.parametrize(
    "body", [{"type": "kick"}, {"type": None}, {"type": 1}, {"kind": "soft"}, []]
)
def test_invalid_restart_options_are_refused(harness: ApiHarness, body: Any) -> None:
    path = f"/vms/{harness.create_running()}/restart"
    check_problem(send_json(harness, json.dumps(body), path), 422, "validation_error")


# Bodies


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
    ("body", "media_type"),
    [
        *((body, JSON) for body in (b'{"type": "hard"}', b"[]", b"null", b"{", b"[{}]", b"\xff")),
        (b"x", "text/plain"),
        (b"a=b", "application/x-www-form-urlencoded"),
    ],
    ids=lambda value: repr(value)[:20],
)
@pytest.mark.parametrize("action", [*(a for a in ACTIONS if a != "restart"), "delete"])
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


# URLs


FILTERS = {
    "/vms": (
        *("status", "name", "flavor", "image", "created_after", "created_before", "updated_after"),
        *("sort", "page", "page_size"),
    ),
    "/operations": ("vm_id", "action", "status", "page", "page_size"),
    f"/vms/{UNKNOWN_ID}/console": ("lines",),
}
FREE = {"name", "flavor", "image", "vm_id"}
"""Filters accept any text; an unusual text matches nothing."""


@pytest.mark.parametrize(
    "value", [SCRIPT, SQL, "%00", "%ff", "x" * 256, "", "%ED%A0%80", "{}", "*"]
)
@pytest.mark.parametrize(
    ("path", "name"), [(p, name) for p, names in FILTERS.items() for name in names]
)
def test_unusual_filter_value_matches_nothing_or_is_refused(
    harness: ApiHarness, path: str, name: str, value: str
) -> None:
    response = harness.call("GET", f"{path}?{name}={value}")
    is_wildcard = value == "*" and name in ("flavor", "image")
    if name in FREE and not is_wildcard and value not in ("%00", "x" * 256, ""):
        assert (response.status_code, response.json["total"]) == (200, 0)
        return
    problem = check_problem(response, 422, "validation_error")
    assert problem["errors"][0]["pointer"].startswith(f"/{name}")


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        *(("/vms", "status", value) for value in ("running", "__class__", "mro", "_member_map_")),
        *(("/vms", "sort", value) for value in ("id", "+name", "name,created_at", "__class__")),
        *(("/vms", "page", value) for value in ("-1", "1.0", "1e1", "٣", "9" * 30, "0x1", "+1")),
        *(("/operations", "action", value) for value in ("START", "boot", "__class__")),
        *(("/operations", "status", value) for value in ("RUNNING", "done")),
        *((f"/vms/{UNKNOWN_ID}/console", "lines", value) for value in ("0", "10001", "-1", "all")),
    ],
)
def test_invalid_query_value_is_refused(
    harness: ApiHarness, path: str, name: str, value: str
) -> None:
    problem = check_problem(
        harness.call("GET", path, query_string={name: value}), 422, "validation_error"
    )
    assert problem["errors"][0]["pointer"].startswith(f"/{name}")


@pytest.mark.parametrize("path", ["/vms", "/operations"])
def test_page_limits_are_enforced(harness: ApiHarness, path: str) -> None:
    for page, message in (
        (0, "Must be a whole number of at least 1."),
        (201, "page x page_size must be at most 10000. Follow next to reach later items."),
        (10**17, "page x page_size must be at most 10000. Follow next to reach later items."),
    ):
        problem = check_problem(harness.call("GET", f"{path}?page={page}"), 422, "validation_error")
        assert problem["errors"] == [{"pointer": "/page", "message": message}]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (p, name)
        for p, names in FILTERS.items()
        for name in names
        if (p, name) != ("/vms", "status")
    ],
)
def test_repeated_parameter_is_refused(harness: ApiHarness, path: str, name: str) -> None:
    problem = check_problem(
        harness.call("GET", f"{path}?{name}=1&{name}=1"), 422, "validation_error"
    )
    assert problem["errors"] == [{"pointer": f"/{name}", "message": "Must not be repeated."}]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", path) for path in (*FILTERS, "/flavors", "/images", "/networks", "/health")),
        *(("GET", f"/vms/{UNKNOWN_ID}{path}") for path in ("", "/status")),
        ("GET", "/operations/x"),
        ("POST", "/vms"),
        ("PATCH", f"/vms/{UNKNOWN_ID}"),
        ("DELETE", f"/vms/{UNKNOWN_ID}"),
        *(("POST", f"/vms/{UNKNOWN_ID}/{action}") for action in ACTIONS),
    ],
)
def test_unknown_parameter_is_refused(harness: ApiHarness, method: str, path: str) -> None:
    body = (
        {"json": {**CREATE_BODY} if path == "/vms" else {}} if method in ("POST", "PATCH") else {}
    )
    problem = check_problem(harness.call(method, f"{path}?nmae=1", **body), 422, "validation_error")
    assert [error["pointer"] for error in problem["errors"]] == ["/nmae"]


def test_unknown_parameter_of_probe_is_refused(harness: ApiHarness) -> None:
    for path in ("/livez", "/readyz", "/problems/forbidden"):
        check_problem(harness.client.get(path + "?a=1"), 422, "validation_error")


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/nothing",
            "/vm",
            "/vms/a/b/c",
            f"/vms/{UNKNOWN_ID}/reboot",
            f"/vms/{UNKNOWN_ID}/%2e%2e/health",
        ),
        *(
            "//vms",
            f"//vms/{UNKNOWN_ID}",
            f"/vms//{UNKNOWN_ID}",
            "/vms%2Fx%2Fy",
            "/VMS",
            "/vms;a=b",
        ),
        *("/" + "x" * 10_000, "/%00", "/%ff", "/\u202e", "/vms.json", "/../../etc/passwd"),
    ],
    ids=lambda path: path[:20],
)
def test_unknown_url_is_404(harness: ApiHarness, path: str) -> None:
    check_problem(harness.call("GET", path), 404, "not_found")


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize("path", ["//api/v1/vms", "///api/v1/vms", "//livez", "//", "//nothing"])
def test_url_with_slashes_before_the_path_is_404(
    harness: ApiHarness, method: str, path: str
) -> None:
    response = harness.client.open("/", method=method, environ_overrides={"PATH_INFO": path})
    assert check_problem(response, 404, "not_found")["instance"] == f"/{path.lstrip(chr(47))}"


@pytest.mark.parametrize(
    "vm_id",
    [
        *("%2F", f"{UNKNOWN_ID}%2Fx", "%00", "%ff", "%0a", SCRIPT.replace("/", ""), SQL, "é"),
        *(
            "x" * 10_000,
            "{" + UNKNOWN_ID[1:-1] + "}",
            "urn:uuid:" + UNKNOWN_ID[9:],
            "-" * 36,
            "_" * 36,
        ),
    ],
    ids=lambda vm_id: vm_id[:20],
)
def test_malformed_vm_id_is_404(harness: ApiHarness, vm_id: str) -> None:
    code = "not_found" if "%2F" in vm_id else "vm_not_found"
    check_problem(harness.call("GET", f"/vms/{vm_id}"), 404, code)


@pytest.mark.parametrize("path", ["/vms", "/operations", "/flavors", "/images", "/networks"])
def test_trailing_slash_is_accepted(harness: ApiHarness, path: str) -> None:
    assert harness.get_json(path + "/") == harness.get_json(path)


def test_percent_encoded_path_is_decoded(harness: ApiHarness) -> None:
    assert harness.get_json("/%76ms") == harness.get_json("/vms")


@pytest.mark.parametrize("method", ["PUT", "TRACE", "CONNECT", "PROPFIND", "X" * 1000])
@pytest.mark.parametrize(
    "path", ["/vms", f"/vms/{UNKNOWN_ID}", f"/vms/{UNKNOWN_ID}/start", "/health"]
)
def test_unsupported_method_is_405(harness: ApiHarness, method: str, path: str) -> None:
    response = harness.client.open(environ_overrides={"REQUEST_METHOD": method}, path=BASE + path)
    check_problem(response, 405, "method_not_allowed")
    assert method not in response.headers["Allow"].split(", ")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/vms"),
        ("PATCH", "/vms"),
        ("POST", f"/vms/{UNKNOWN_ID}"),
        ("GET", f"/vms/{UNKNOWN_ID}/start"),
        ("POST", "/flavors"),
        ("POST", f"/vms/{UNKNOWN_ID}/status"),
    ],
)
def test_method_of_another_url_is_405(harness: ApiHarness, method: str, path: str) -> None:
    check_problem(harness.call(method, path), 405, "method_not_allowed")


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
