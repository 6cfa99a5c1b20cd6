"""Rendering what went wrong as a problem: RFC 9457."""

from typing import Any

import orjson
from flask import Response, current_app, request
from werkzeug.exceptions import HTTPException

from vmapi import errors
from vmapi.api.problems.types import PROBLEM_TYPES
from vmapi.api.request.context import current_request_id, operation_url

PROBLEM_MEDIA_TYPE = "application/problem+json"


def problem_document(error: errors.VmapiError) -> dict[str, Any]:
    """Return the members that an error shows wherever it is shown."""
    kind = PROBLEM_TYPES[error.code]
    extra = dict(error.extra)
    if operation_id := extra.pop("operation_id", None):
        extra["operation"] = operation_url(str(operation_id))
    if error.pointer is not None:
        extra["errors"] = [{"pointer": error.pointer, "message": error.detail}]
    return {
        "type": f"/problems/{error.code}",
        "title": kind.title,
        "status": kind.status,
        "code": error.code,
        "detail": error.detail,
        **extra,
    }


def problem_response(error: errors.VmapiError, headers: dict[str, str] | None = None) -> Response:
    """Answer this request with an error."""
    body = {**problem_document(error), "instance": request.path, "request_id": current_request_id()}
    answer = Response(orjson.dumps(body), PROBLEM_TYPES[error.code].status, headers)
    answer.headers["Content-Type"] = PROBLEM_MEDIA_TYPE
    answer.headers["Cache-Control"] = "no-store"
    if (seconds := getattr(error, "retry_after", None)) is not None:
        answer.headers["Retry-After"] = str(seconds)
    if isinstance(error, errors.UnsupportedMediaType) and error.compressed:
        # RFC 9110, section 15.5.16
        answer.headers["Accept-Encoding"] = "identity"
    if isinstance(error, errors.Unauthenticated):
        answer.headers["WWW-Authenticate"] = _bearer_challenge(error)
    if error.replayed:
        answer.headers["Idempotent-Replayed"] = "true"
    if "operation" in body:
        answer.headers["Operation-Location"] = body["operation"]
    if "etag" in body:
        answer.headers["ETag"] = body["etag"]
    return answer


def _bearer_challenge(error: errors.Unauthenticated) -> str:
    # RFC 6750, section 3.1: no error where no token came
    return 'Bearer realm="vmapi"' + (', error="invalid_token"' if error.credentials_sent else "")


def http_exception_response(error: HTTPException) -> Response:
    """Answer with what Flask itself refused: an unknown URL, a method, a body."""
    if error.code == 405:
        allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
        refused = errors.MethodNotAllowed(f"{request.method} is not known here; {allowed} is.")
        return problem_response(refused, {"Allow": allowed})
    if error.code == 404:
        return problem_response(errors.NotFound(f"There is nothing at {request.path}."))
    if error.code == 413:
        limit = current_app.config["MAX_CONTENT_LENGTH"]
        return problem_response(errors.PayloadTooLarge(f"At most {limit} bytes are taken."))
    if error.code is not None and error.code < 500:
        return problem_response(errors.MalformedRequest("The request could not be read."))
    return internal_error_response(error)


def internal_error_response(error: Exception) -> Response:
    """Answer for a defect of ours: the log has the traceback, the client the request id."""
    current_app.logger.error("unhandled exception", exc_info=error)
    return problem_response(errors.InternalError("Something went wrong inside vmapi."))
