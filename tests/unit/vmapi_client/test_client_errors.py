"""The error classes of the Python client, held to the problem types of vmapi."""

import copy
import pickle
import re
from typing import Any

import pytest

from tests.support.client_plans import respond_with_problem
from vmapi.api.openapi.examples import VM as VM_DOCUMENT
from vmapi.api.problems.problem_type import ProblemType
from vmapi.api.problems.types import PROBLEM_TYPES
from vmapi_client import VM, errors
from vmapi_client.core.exchange import Request, Response
from vmapi_client.core.replies import Server
from vmapi_client.core.replies import build_error as build_error_of
from vmapi_client.errors.codes import ERRORS_BY_CODE, ERRORS_BY_STATUS, error_class

SERVER = Server("https://vmapi.example.org")
GET_VMS = Request("GET", "/vms")
RENAMED = {"not_found": "UrlNotFound"}
VALUES = {
    "current_status": "STOPPED",
    "task": "starting",
    "allowed_actions": ["start"],
    "errors": [{"pointer": "/name", "message": "too short"}],
    "role_needed": "operator",
    "etag": '"1"',
    "hint": "A hint.",
    "operation": "/api/v1/operations/1",
    "vm_id": "c15d",
}


def build_error(response: Response, request: Request = GET_VMS) -> errors.ProblemError:
    return build_error_of(request, response, SERVER)


def test_each_code_has_a_class() -> None:
    assert set(ERRORS_BY_CODE) == set(PROBLEM_TYPES)


@pytest.mark.parametrize(("code", "problem_type"), PROBLEM_TYPES.items())
def test_class_has_name_group_and_members_of_its_code(code: str, problem_type: ProblemType) -> None:
    cls = ERRORS_BY_CODE[code]
    assert cls.__name__ == RENAMED.get(code, re.sub(r"(?:^|_)(.)", lambda m: m[1].upper(), code))
    assert getattr(errors, cls.__name__) is cls
    members = {name: VALUES[name] for name in problem_type.members}
    error = build_error(respond_with_problem(problem_type.status, code, members))
    assert (type(error), error.code, error.status) == (cls, code, problem_type.status)
    for name, value in members.items():
        expected = tuple(value) if isinstance(value, list) else value
        actual = getattr(error, name)
        assert (actual if name != "errors" else (actual[0].to_json(),)) == expected


def test_unknown_code_of_a_newer_server_has_the_class_of_its_status() -> None:
    assert error_class("vm_frozen", 409) is errors.Conflict
    assert error_class("teapot", 418) is errors.InvalidRequest
    assert error_class("too_late", 507) is errors.ServerFailed
    for status, group in ERRORS_BY_STATUS.items():
        assert error_class("unknown", status) is group


def test_message_is_one_line_with_code_and_request_id() -> None:
    error = build_error(respond_with_problem(409, "vm_locked"))
    assert str(error) == "A detail of vm_locked. (vm_locked, request req-1)"
    assert error.request_id == "req-1"
    needed = respond_with_problem(403, "forbidden", {"role_needed": "admin"})
    assert str(build_error(needed)).endswith("The token needs the role admin.")
    anonymous = respond_with_problem(401, "unauthenticated")
    assert str(build_error(anonymous)).endswith("set VMAPI_TOKEN or VMAPI_TOKEN_FILE.")


@pytest.mark.parametrize(
    ("pointer", "request_sent"),
    [
        ("/selector", Request("GET", "/vms", (("limit", "5"), ("selector", "env prod")))),
        ("/filter/selector", Request("POST", "/", body={"filter": {"selector": "env prod"}})),
    ],
)
def test_error_of_a_selector_names_the_text_and_the_place(
    pointer: str, request_sent: Request
) -> None:
    places = [{"pointer": "/name", "message": "b"}, {"pointer": pointer, "message": "a"}]
    places[1] |= {"offset": 4}
    error = build_error(
        respond_with_problem(422, "validation_error", {"errors": places}), request_sent
    )
    assert isinstance(error, errors.ValidationError)
    assert (error.offset, error.rejected_text) == (4, "env prod")


@pytest.mark.parametrize(
    "place", [{"pointer": "/none", "offset": 4}, {"pointer": "/name"}, {"pointer": "", "offset": 0}]
)
def test_error_without_a_text_in_the_request_has_no_rejected_text(place: Any) -> None:
    problem = {"errors": [{"message": "a", **place}]}
    error = build_error(respond_with_problem(422, "validation_error", problem))
    assert isinstance(error, errors.ValidationError)
    assert (error.offset, error.rejected_text) == (place.get("offset"), None)


VM_OF_ERROR = VM.from_json(VM_DOCUMENT)


@pytest.mark.parametrize(
    "error",
    [
        *(build_error(respond_with_problem(409, code, VALUES)) for code in PROBLEM_TYPES),
        errors.NotReachable("lost", idempotency_key="key-1"),
        errors.NotVmapi("foreign", status=200),
        errors.DeadlineExceeded("late", vm=VM_OF_ERROR, request_id="req-1"),
        errors.VMFailed("failed", vm=VM_OF_ERROR),
    ],
    ids=lambda error: type(error).__name__,
)
def test_error_passes_from_process_to_process(error: errors.VmapiError) -> None:
    for restored in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(restored) is type(error)
        assert str(restored) == str(error)
        assert vars(restored) == vars(error)
