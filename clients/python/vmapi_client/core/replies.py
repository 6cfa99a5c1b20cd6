"""The meaning of a reply: a success, a problem, or a reason to repeat the request."""

from dataclasses import dataclass

from vmapi_client.core.exchange import Failure, Reply, Request, Response
from vmapi_client.errors import (
    CertificateRejected,
    ConfigurationError,
    HostNotFound,
    NotVmapi,
    ProblemError,
    VmapiError,
)
from vmapi_client.errors.codes import error_class
from vmapi_client.models import Problem

PROBLEM_TYPE = "application/problem+json"
SUCCESS_TYPES = ("application/json", "text/event-stream")
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
    except ValueError:
        return None
    return problem if isinstance(problem.code, str) else None


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
    return None


def check_reply(request: Request, reply: Reply, server: Server) -> None:
    """Raise an error that no repeat can heal: a wrong URL, host or certificate."""
    if isinstance(reply, Failure):
        _check_failure(reply, server)
    elif find_failure(request, reply) is None and not _is_from_vmapi(request, reply):
        raise NotVmapi(describe_foreign_response(request, reply, server), status=reply.status)


def build_error(
    response: Response, server: Server, key: str | None = None, *, advice: str = ""
) -> ProblemError:
    """Return the error of a response with a problem."""
    problem = find_problem(response)
    assert problem is not None
    return error_class(problem.code, problem.status)(
        problem,
        advice=advice or _advise(problem, server),
        retry_after=response.retry_after,
        idempotency_key=key,
    )


def build_operation_error(problem: Problem) -> ProblemError:
    """Return the error of an operation that failed, or of a VM that a bulk action refused."""
    return error_class(problem.code, problem.status)(problem)


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


def _is_success(request: Request, response: Response) -> bool:
    return 200 <= response.status < 300 or response.status in request.failure_statuses


def _is_from_vmapi(request: Request, response: Response) -> bool:
    if response.status in (204, 304) or find_problem(response) is not None:
        return True
    return _is_success(request, response) and response.content_type in SUCCESS_TYPES


def _check_failure(failure: Failure, server: Server) -> None:
    place = f"the URL {server.url} from {server.url_origin}"
    error: VmapiError
    if failure.kind == "host":
        error = HostNotFound(f"The host is unknown: {failure.reason}. Check {place}.")
    elif failure.kind == "certificate":
        error = CertificateRejected(
            f"No trusted TLS: {failure.reason}. Check {place}; "
            "name the file of a private authority in ca_file."
        )
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
