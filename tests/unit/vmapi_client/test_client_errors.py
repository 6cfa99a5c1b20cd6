"""The error classes of the Python client, held to the problem types of vmapi."""

import re

import pytest

from tests.support.client_plans import respond_with_problem
from vmapi.api.problems.problem_type import ProblemType
from vmapi.api.problems.types import PROBLEM_TYPES
from vmapi_client import errors
from vmapi_client.core.replies import Server, build_error
from vmapi_client.errors.codes import ERRORS_BY_CODE, ERRORS_BY_STATUS, error_class

SERVER = Server("https://vmapi.example.org")
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


def test_each_code_has_a_class() -> None:
    assert set(ERRORS_BY_CODE) == set(PROBLEM_TYPES)


@pytest.mark.parametrize(("code", "problem_type"), PROBLEM_TYPES.items())
def test_class_has_name_group_and_members_of_its_code(code: str, problem_type: ProblemType) -> None:
    cls = ERRORS_BY_CODE[code]
    assert cls.__name__ == RENAMED.get(code, re.sub(r"(?:^|_)(.)", lambda m: m[1].upper(), code))
    assert getattr(errors, cls.__name__) is cls
    members = {name: VALUES[name] for name in problem_type.members}
    error = build_error(respond_with_problem(problem_type.status, code, members), SERVER)
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
    error = build_error(respond_with_problem(409, "vm_locked"), SERVER)
    assert str(error) == "A detail of vm_locked. (vm_locked, request req-1)"
    assert error.request_id == "req-1"
    needed = respond_with_problem(403, "forbidden", {"role_needed": "admin"})
    assert str(build_error(needed, SERVER)).endswith("The token needs the role admin.")
    anonymous = respond_with_problem(401, "unauthenticated")
    assert str(build_error(anonymous, SERVER)).endswith("set VMAPI_TOKEN or VMAPI_TOKEN_FILE.")
