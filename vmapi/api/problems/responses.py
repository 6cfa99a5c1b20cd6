"""Convert errors to problem documents and HTTP responses (RFC 9457).

Installed as error handlers by `vmapi.app`. The text of an unexpected exception never reaches the
client: only the log has it.
"""

from typing import Any

import orjson
from flask import Response, current_app, request
from werkzeug.exceptions import HTTPException

from vmapi import errors
from vmapi.api.problems.types import PROBLEM_TYPES
from vmapi.api.request.context import current_request_id, operation_url

PROBLEM_MEDIA_TYPE = "application/problem+json"


def problem_document(error: errors.VmapiError) -> dict[str, Any]:
    """Return the members of a problem that do not depend on the request."""
    problem_type = PROBLEM_TYPES[error.code]
    extra = dict(error.extra)
    if operation_id := extra.pop("operation_id", None):
        extra["operation"] = operation_url(str(operation_id))
    if error.pointer is not None:
        extra["errors"] = [{"pointer": error.pointer, "message": error.detail}]
    return {
        "type": f"/problems/{error.code}",
        "title": problem_type.title,
        "status": problem_type.status,
        "code": error.code,
        "detail": error.detail,
        **extra,
    }


def problem_response(error: errors.VmapiError, headers: dict[str, str] | None = None) -> Response:
    """Build the response to the current request from an error."""
    body = {
        **problem_document(error),
        "instance": request.path,
        "request_id": current_request_id(),
    }
    response = Response(orjson.dumps(body), PROBLEM_TYPES[error.code].status, headers)
    response.headers["Content-Type"] = PROBLEM_MEDIA_TYPE
    response.headers["Cache-Control"] = "no-store"
    if (seconds := getattr(error, "retry_after", None)) is not None:
        response.headers["Retry-After"] = str(seconds)
    if isinstance(error, errors.UnsupportedMediaType) and error.compressed:
        # RFC 9110, section 15.5.16
        response.headers["Accept-Encoding"] = "identity"
    if isinstance(error, errors.Unauthenticated):
        response.headers["WWW-Authenticate"] = _bearer_challenge(error)
    if error.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    if "operation" in body:
        response.headers["Operation-Location"] = body["operation"]
    if "etag" in body:
        response.headers["ETag"] = body["etag"]
    return response


def http_exception_response(error: HTTPException) -> Response:
    """Convert an exception of Flask: an unknown URL, a wrong method, an unreadable body."""
    if error.code == 405:
        allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
        detail = f"{request.method} is not allowed here. Allowed methods: {allowed}."
        return problem_response(errors.MethodNotAllowed(detail), {"Allow": allowed})
    if error.code == 404:
        return problem_response(errors.NotFound(f"No resource has the URL {request.path}."))
    if error.code == 413:
        limit = current_app.config["MAX_CONTENT_LENGTH"]
        return problem_response(errors.PayloadTooLarge(f"The body may have at most {limit} bytes."))
    if error.code is not None and error.code < 500:
        return problem_response(errors.MalformedRequest("The request cannot be read."))
    return internal_error_response(error)


def internal_error_response(error: Exception) -> Response:
    """Log an unexpected exception and return a response without its text."""
    current_app.logger.error("unhandled exception", exc_info=error)
    return problem_response(errors.InternalError("vmapi failed to process the request."))


def _bearer_challenge(error: errors.Unauthenticated) -> str:
    # RFC 6750, section 3.1: no error code if the request has no token
    return 'Bearer realm="vmapi"' + (', error="invalid_token"' if error.credentials_sent else "")
