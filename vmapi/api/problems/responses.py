"""Convert errors to problem documents and HTTP responses (RFC 9457).

Installed as error handlers by `vmapi.app`. The text of an unexpected exception never reaches the
client: only the log has it.
"""

import json
from typing import Any
from urllib.parse import quote

import orjson
from flask import Response, current_app, request
from werkzeug.exceptions import HTTPException

from vmapi import errors
from vmapi.api.problems.problem_type import ProblemType
from vmapi.api.problems.terms import ClientApi, spell_members, translate_terms
from vmapi.api.problems.types import DEFAULT_BASE_PATH, PROBLEM_TYPES
from vmapi.api.problems.unknown_urls import describe_unknown_url
from vmapi.api.request.context import current_request_id, operation_url
from vmapi.api.request.versions import current_base_path
from vmapi.services.vms.service import is_uuid
from vmapi.telemetry.metrics.catalog import PROBLEMS

PROBLEM_MEDIA_TYPE = "application/problem+json"
MAX_HINT_NAME_CHARS = 63
"""The characters of a VM name."""


def with_base_path(text: str) -> str:
    """Return a text of the table of problem types with the base path of the request."""
    return text.replace(DEFAULT_BASE_PATH, current_base_path())


def problem_document(
    error: errors.VmapiError, vm_id: str | None = None, api: ClientApi = ClientApi.REST
) -> dict[str, Any]:
    """Return the members of a problem, in the terms of an API.

    `vm_id` is the id of a VM that the client sent.
    """
    problem_type = PROBLEM_TYPES[error.code]
    hint = _vm_name_hint(error, vm_id) if api is ClientApi.REST else None
    hint = hint or _type_hint(problem_type, error, api)
    detail = f"{error.detail} {hint}" if hint else error.detail
    extra = dict(error.extra)
    if operation_id := extra.pop("operation_id", None):
        extra["operation"] = operation_url(str(operation_id))
        extra |= {"operation_id": operation_id} if api is ClientApi.GRAPHQL else {}
    if error.pointer is not None:
        extra["errors"] = [{"pointer": error.pointer, "message": detail}]
    problem = {
        "type": f"/problems/{error.code}",
        "title": problem_type.title,
        "status": problem_type.status,
        "code": error.code,
        "detail": detail,
        **extra,
    }
    return spell_members(problem) if api is ClientApi.GRAPHQL else problem


def _type_hint(problem_type: ProblemType, error: errors.VmapiError, api: ClientApi) -> str:
    if not problem_type.hint:
        return ""
    hint = with_base_path(translate_terms(problem_type.hint, api))
    etag = error.extra.get("etag")
    # a string of a document has quotation marks around those of the tag
    return hint.format(etag=etag if api is ClientApi.REST else json.dumps(etag))


def _vm_name_hint(error: errors.VmapiError, vm_id: str | None) -> str | None:
    """Return the hint for the name of a VM that the client sent instead of its id."""
    if vm_id is None or is_uuid(vm_id) or not isinstance(error, errors.VMNotFound):
        return None
    name = quote(vm_id[:MAX_HINT_NAME_CHARS], safe="")
    return f"If it is a name, GET {current_base_path()}/vms?name={name} finds the id."


def problem_response(error: errors.VmapiError, headers: dict[str, str] | None = None) -> Response:
    """Build the response to the current request from an error."""
    PROBLEMS.increment(error.code)
    body = {
        **problem_document(error, (request.view_args or {}).get("vm_id")),
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
        detail = f"Method {request.method} is not allowed here; allowed: {allowed}."
        return problem_response(errors.MethodNotAllowed(detail), {"Allow": allowed})
    if error.code == 404:
        return problem_response(errors.NotFound(describe_unknown_url()))
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
