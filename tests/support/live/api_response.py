"""An answer of the API, and what makes one a problem."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ApiResponse:
    """An answer, and the seconds that it took."""

    status: int
    headers: Mapping[str, str]
    body: Any
    text: str
    seconds: float


def assert_problem(response: ApiResponse, status: int, code: str) -> Any:
    """See that an answer is this problem, and return it."""
    assert (response.status, response.body.get("code")) == (status, code), response
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.body["status"] == status
    assert response.body["type"] == f"/problems/{code}"
    assert response.body["request_id"] == response.headers["X-Request-ID"]
    return response.body
