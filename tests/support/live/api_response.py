"""An answer of the API, and what makes one a problem."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """An answer, and the seconds that it took."""

    status: int
    headers: Mapping[str, str]
    body: Any
    text: str
    seconds: float


def problem(answer: Answer, status: int, code: str) -> Any:
    """See that an answer is this problem, and return it."""
    assert (answer.status, answer.body.get("code")) == (status, code), answer
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.body["status"] == status
    assert answer.body["type"] == f"/problems/{code}"
    assert answer.body["request_id"] == answer.headers["X-Request-ID"]
    return answer.body
