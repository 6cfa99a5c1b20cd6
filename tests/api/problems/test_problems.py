"""Every problem over HTTP: status, code, headers, members and its page."""

import pytest

from tests.support.api_harness import ApiHarness
from tests.support.problem_requests import PROBLEM_REQUESTS
from vmapi.api.problems.schema import ProblemSchema
from vmapi.api.problems.types import OPERATION_MEMBERS, PROBLEM_TYPES

OPERATION_PROBLEMS = {
    "no_capacity",
    "build_failed",
    "operation_timeout",
    "backend_lost",
    "bulk_incomplete",
}
"""Problems of operations and faults, tested in test_vms.py and test_bulk_operations.py."""
CODES_WITH_RETRY_AFTER = {
    *("backend_unavailable", "store_unavailable", "issuer_unavailable", "under_maintenance"),
    *("idempotency_in_progress", "rate_limited"),
}
COMMON_MEMBERS = {
    *("type", "title", "status", "code", "detail", "instance", "request_id"),
}
STATUSES = {
    400: {"malformed_request"},
    401: {"unauthenticated"},
    403: {"forbidden", "quota_exceeded"},
    404: {"vm_not_found", "operation_not_found", "not_found"},
    405: {"method_not_allowed"},
    409: {
        *("invalid_state", "task_in_progress", "vm_locked", "name_taken"),
        *("idempotency_in_progress", "bulk_incomplete"),
    },
    412: {"precondition_failed"},
    413: {"payload_too_large"},
    415: {"unsupported_media_type"},
    429: {"rate_limited"},
    422: {
        *("validation_error", "flavor_not_found", "image_not_found", "image_ambiguous"),
        *("network_not_found", "network_ambiguous", "key_not_found", "security_group_not_found"),
        *("security_group_ambiguous", "idempotency_key_reused"),
    },
    500: {"internal_error"},
    502: {"backend_error", "build_failed", "backend_lost"},
    503: {
        *("backend_unavailable", "store_unavailable", "issuer_unavailable", "no_capacity"),
        "under_maintenance",
    },
    504: {"backend_timeout", "operation_timeout"},
}


def test_every_problem_is_tested_with_its_status() -> None:
    assert set(PROBLEM_REQUESTS) | OPERATION_PROBLEMS | {"internal_error"} == set(PROBLEM_TYPES)
    assert {code: kind.status for code, kind in PROBLEM_TYPES.items()} == {
        code: status for status, codes in STATUSES.items() for code in codes
    }


@pytest.mark.parametrize("limits", ["vcpus=7"])
@pytest.mark.parametrize("code", PROBLEM_REQUESTS)
def test_problem_has_status_members_and_headers(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    send, members = PROBLEM_REQUESTS[code]
    response = send(harness, monkeypatch)
    assert response.status_code == PROBLEM_TYPES[code].status
    assert response.content_type == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    problem = response.json
    assert problem is not None
    assert ProblemSchema().validate(problem) == {}
    assert problem["type"] == f"/problems/{code}"
    assert problem["title"] == PROBLEM_TYPES[code].title
    assert problem["status"] == response.status_code
    assert problem["code"] == code
    assert problem["instance"] == response.request.path
    assert problem["request_id"] == response.headers["X-Request-ID"]
    assert {name: problem[name] for name in members} == members
    assert set(problem) - COMMON_MEMBERS <= {*PROBLEM_TYPES[code].members, *OPERATION_MEMBERS}
    assert ("Retry-After" in response.headers) == (code in CODES_WITH_RETRY_AFTER)


@pytest.mark.parametrize("code", PROBLEM_TYPES)
def test_every_problem_has_an_explanation(harness: ApiHarness, code: str) -> None:
    response = harness.client.get(f"/problems/{code}")
    kind = PROBLEM_TYPES[code]
    assert response.status_code == 200
    explanation = {name: value for name, value in response.json.items() if name != "graphql_advice"}
    assert explanation == {
        "code": code,
        "title": kind.title,
        "status": kind.status,
        "advice": f"{kind.meaning} {kind.advice}",
    }


def test_unknown_problem_code_is_404(harness: ApiHarness) -> None:
    response = harness.client.get("/problems/boredom")
    assert response.status_code == 404
    assert response.json is not None
    assert response.json["code"] == "not_found"
    assert response.json["detail"].startswith(
        "No problem has the code boredom. The codes are malformed_"
    )
