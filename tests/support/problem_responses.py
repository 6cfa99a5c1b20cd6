"""Checks of problem responses, and requests with raw JSON bodies."""

from typing import Any

from werkzeug.test import TestResponse

from tests.support.api_harness import ApiHarness
from vmapi.api.problems.schema import ProblemSchema

JSON = "application/json"


def check_problem(response: TestResponse, status: int, code: str) -> Any:
    """Check the status and the code of a problem, and return its members."""
    assert (response.status_code, response.content_type) == (status, "application/problem+json")
    assert response.json is not None
    assert response.json["code"] == code
    assert ProblemSchema().validate(response.json) == {}
    assert len(response.data) < 30_000
    return response.json


def send_json(
    harness: ApiHarness, body: bytes | str, path: str = "/vms", method: str = "POST"
) -> TestResponse:
    """Send a body as JSON, whether it is JSON or not."""
    return harness.call(method, path, data=body, content_type=JSON)
