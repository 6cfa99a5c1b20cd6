"""Invalid fields of creates, changes and restarts: a problem that points at the field."""

import json
import re
from random import Random
from string import ascii_letters, digits
from typing import Any

import pytest

from tests.support.api_harness import CREATE_BODY, UNKNOWN_ID, ApiHarness
from tests.support.hostile_texts import HUGE, SCRIPT, SQL
from tests.support.memory_cloud import remove_instances
from tests.support.problem_responses import check_problem, send_json

WRONG_TYPES: list[Any] = [None, 0, -1, 1.5, 10**400, True, [], [[]], {}, {"a": {}}, ""]
TEXTS = ("name", "flavor", "image", "network", "key_name")


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
