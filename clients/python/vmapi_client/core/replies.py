"""The meaning of a reply: a success, a problem, or a reason to repeat the request."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from vmapi_client.core.exchange import Failure, Reply, Request, Response
from vmapi_client.errors import (
    CertificateRejected,
    ConfigurationError,
    HostNotFound,
    InvalidRequest,
    NotReachable,
    NotVmapi,
    ProblemError,
    ResponseTimeout,
    ResponseTooLarge,
    VmapiError,
)
from vmapi_client.errors.codes import error_class
from vmapi_client.models import Problem

E = TypeVar("E", bound=VmapiError)

PROBLEM_TYPE = "application/problem+json"
SUCCESS_TYPES = ("application/json", "text/event-stream")
MALFORMED_DOCUMENT_ERRORS = (ValueError, TypeError, AttributeError, KeyError, RecursionError)
"""The errors of a conversion from JSON that is not of vmapi."""

TEMPORARY_STATUSES = (408, 429)
"""Statuses below 500 of a proxy after which a repeat may succeed."""


@dataclass(frozen=True)
class Server:
    """The address and the token of a server, in the words of error messages."""

    url: str
    url_origin: str = "the argument url"
    token_origin: str | None = None


def find_problem(response: Response) -> Problem | None:
    """Return the problem document of a response, or None without one."""
    if response.content_type != PROBLEM_TYPE:
        return None
    try:
        problem = Problem.from_json(response.document)
    except MALFORMED_DOCUMENT_ERRORS:
        return None
    return problem if _is_problem_of_vmapi(problem) else None


def find_failure(request: Request, reply: Reply) -> str | None:
    """Return why a reply has no outcome of vmapi, or None if it has one."""
    if isinstance(reply, Failure):
        return reply.reason
    if find_problem(reply) is not None or reply.status in (204, 304):
        return None
    has_document = reply.content_type == "application/json" and _is_success(request, reply)
    if (reply.status >= 500 and not has_document) or reply.status in TEMPORARY_STATUSES:
        return f"a proxy answered {reply.status} in place of vmapi"
    if has_document:
        try:
            _ = reply.document
        except ValueError:
            return "the response is incomplete"
        except RecursionError:
            # not cut off: the conversion of the document refuses it
            return None
    return None


def error_without_response(reply: Reply) -> type[NotReachable]:
    """Return the class of the error at the deadline, after a reply without an outcome."""
    is_stalled = isinstance(reply, Failure) and reply.kind == "timeout"
    return ResponseTimeout if is_stalled else NotReachable


def check_reply(request: Request, reply: Reply, server: Server) -> None:
    """Raise an error that no repeat can heal: a wrong URL, host or certificate."""
    if isinstance(reply, Failure):
        _check_failure(request, reply, server)
    elif find_failure(request, reply) is None and not _is_from_vmapi(request, reply):
        raise NotVmapi(describe_foreign_response(request, reply, server), status=reply.status)


def name_key(error: E, key: str | None) -> E:
    """Add the key of a change without a known outcome to an error, also to its message."""
    error.idempotency_key = key
    if key is not None:
        error.message += f" {advise_repeat(key)}"
    return error


def advise_repeat(key: str) -> str:
    """Return a sentence about the repeat of a change without a known outcome."""
    return f"Repeat it with idempotency_key={key!r} for its outcome."


def build_error(
    request: Request,
    response: Response,
    server: Server,
    key: str | None = None,
    *,
    advice: str = "",
) -> ProblemError:
    """Return the error of a response with a problem."""
    problem = find_problem(response)
    assert problem is not None
    error = error_class(problem.code, problem.status)(
        problem,
        advice=advice or _advise(problem, server),
        retry_after=response.retry_after,
        idempotency_key=key,
    )
    if isinstance(error, InvalidRequest):
        error.rejected_text = _find_rejected_text(request, problem)
    return error


def build_operation_error(problem: Problem, request_id: str | None = None) -> ProblemError:
    """Return the error of an operation that failed, or of a VM that a bulk action refused.

    `request_id` is the id of the request of the operation.
    """
    named = replace(problem, request_id=problem.request_id or request_id)
    return error_class(problem.code, problem.status)(named)


def describe_foreign_response(request: Request, response: Response, server: Server) -> str:
    """Return a sentence about a response that is not one of vmapi."""
    location = response.headers.get("location")
    if 300 <= response.status < 400 and location:
        return (
            f"{request} is redirected to {location}. The client follows no redirects: "
            f"correct the URL {server.url} from {server.url_origin}."
        )
    return (
        f"{request} got the status {response.status} "
        f"({response.content_type or 'no content type'}), which is not a response of vmapi. "
        f"Check the URL {server.url} from {server.url_origin}."
    )


def _find_rejected_text(request: Request, problem: Problem) -> str | None:
    """Return the text of the request in which the problem names a place, or None."""
    for item in problem.errors:
        if item.offset is not None:
            value: Any = request.body or dict(request.query)
            for member in item.pointer.strip("/").split("/"):
                value = value.get(member) if isinstance(value, Mapping) else None
            return value if isinstance(value, str) else None
    return None


def _is_problem_of_vmapi(problem: Problem) -> bool:
    """Return whether code, status and places are usable; other programs send problems, too."""
    return (
        isinstance(problem.code, str)
        and isinstance(problem.detail, str)
        and isinstance(problem.status, int)
        and all(isinstance(item.pointer, str) for item in problem.errors)
        and all(isinstance(item.offset, int | None) for item in problem.errors)
    )


def _is_success(request: Request, response: Response) -> bool:
    return 200 <= response.status < 300 or response.status in request.failure_statuses


def _is_from_vmapi(request: Request, response: Response) -> bool:
    if response.status in (204, 304) or find_problem(response) is not None:
        return True
    return _is_success(request, response) and response.content_type in SUCCESS_TYPES


def too_large(subject: str, reason: str) -> ResponseTooLarge:
    """Return the error of a response, or of an event, that is too large."""
    return ResponseTooLarge(
        f"{subject}: {reason}. Ask for less, such as a smaller page_size or the last lines of a "
        "console, or give the client more: max_response_bytes."
    )


def _check_failure(request: Request, failure: Failure, server: Server) -> None:
    if isinstance(failure.error, VmapiError):
        # the token file cannot be read
        raise failure.error
    place = f"the URL {server.url} from {server.url_origin}"
    error: VmapiError
    if failure.kind == "host":
        error = HostNotFound(f"The host is unknown: {failure.reason}. Check {place}.")
    elif failure.kind == "certificate":
        error = CertificateRejected(
            f"No trusted TLS: {failure.reason}. Check {place}; "
            "name the file of a private authority in ca_file."
        )
    elif failure.kind == "no TLS":
        error = CertificateRejected(f"{failure.reason}. Check the scheme and the port of {place}.")
    elif failure.kind == "too large":
        error = too_large(str(request), failure.reason)
    elif failure.kind == "url":
        error = ConfigurationError(f"{failure.reason}. Check {place}: https://HOST[:PORT].")
    else:
        return
    raise error from failure.error


def _advise(problem: Problem, server: Server) -> str:
    if problem.code == "unauthenticated":
        if server.token_origin is None:
            return "No token was sent: set VMAPI_TOKEN or VMAPI_TOKEN_FILE."
        return f"The token came from {server.token_origin}."
    if problem.code == "forbidden" and problem.role_needed:
        return f"The token needs the role {problem.role_needed}."
    if problem.code == "not_found":
        return f"The URL {server.url} came from {server.url_origin}."
    return ""
