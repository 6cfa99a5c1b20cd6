"""Responses of the worker itself, to requests that do not reach the app."""

from http import HTTPStatus

import orjson

from vmapi.api.middleware.security_headers import SECURITY_HEADERS
from vmapi.api.problems.types import PROBLEM_TYPES

SECURITY_HEADER_BLOCK = "".join(f"{name}: {value}\r\n" for name, value in SECURITY_HEADERS.items())
RESPONSE_HEAD = (
    "HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
    "Cache-Control: no-store\r\n" + SECURITY_HEADER_BLOCK + "X-Request-ID: {request_id}\r\n"
    "Content-Length: {length}\r\n\r\n"
)


def problem_response(code: str, detail: str, request_id: str) -> bytes:
    """Render a problem document as a response that ends the connection."""
    problem = PROBLEM_TYPES[code]
    members = {"type": f"/problems/{code}", "title": problem.title, "status": problem.status}
    body = orjson.dumps({**members, "code": code, "detail": detail, "request_id": request_id})
    head = RESPONSE_HEAD.format(
        status=problem.status,
        reason=HTTPStatus(problem.status).phrase,
        request_id=request_id,
        length=len(body),
    )
    return head.encode() + body
