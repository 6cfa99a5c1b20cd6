"""Responses of the worker itself, to requests that do not reach the app."""

from http import HTTPStatus
from typing import Any

import orjson
from gunicorn.http import errors

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


def malformed_response(cfg: Any, error: errors.ParseException, request_id: str) -> bytes:
    """Render the response to a request that gunicorn's parser refuses.

    The text of the error quotes the request, so the response has another.
    """
    detail = "The request is not valid HTTP."
    if isinstance(error, errors.LimitRequestLine):
        detail = f"The first line of a request has at most {cfg.limit_request_line} bytes."
    elif isinstance(error, errors.LimitRequestHeaders):
        detail = (
            f"A header has at most {cfg.limit_request_field_size} bytes, a request "
            f"{cfg.limit_request_fields} headers."
        )
    return problem_response("malformed_request", detail, request_id)
