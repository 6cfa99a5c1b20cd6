"""A response of the API, and the assertion for a problem."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ApiResponse:
    """A response, and the seconds until it arrived."""

    status: int
    headers: Mapping[str, str]
    body: Any
    text: str
    seconds: float


def assert_problem(response: ApiResponse, status: int, code: str) -> Any:
    """Assert that a response is a problem with this code, and return its body."""
    assert (response.status, response.body.get("code")) == (status, code), response
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.body["status"] == status
    assert response.body["type"] == f"/problems/{code}"
    assert response.body["request_id"] == response.headers["X-Request-ID"]
    return response.body
