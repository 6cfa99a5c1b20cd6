"""The first and the last hook: the request state and the access log line."""

import re
import time
import uuid
from random import getrandbits

import structlog
from flask import Request, Response, current_app
from werkzeug.exceptions import NotFound

from vmapi.api.middleware.config import MiddlewareConfig
from vmapi.api.request.context import RequestState
from vmapi.concurrency import bulkhead
from vmapi.domain.access.api_token import BEARER_PREFIX, hide_tokens

REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")

log = structlog.get_logger("vmapi.access")


def begin_request(request: Request) -> RequestState:
    """Return the request state; a valid `X-Request-ID` of the client becomes the request id."""
    started_at = time.perf_counter()
    bulkhead.begin_request()
    header = request.headers.get("X-Request-ID", "")
    request_id = header if REQUEST_ID_PATTERN.fullmatch(header) else generate_request_id()
    state = RequestState(request_id, started_at, current_app.extensions["vmapi"])
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id, user=state.identity.subject)
    if request.environ["PATH_INFO"].startswith("//"):
        # werkzeug ignores all but one of the slashes, and would serve the URL
        request.url_rule, request.routing_exception = None, NotFound()
    return state


def end_request(
    _: MiddlewareConfig, request: Request, state: RequestState, response: Response
) -> None:
    """Add `X-Request-ID` and write the access log line."""
    response.headers.add("X-Request-ID", state.request_id)
    endpoint = f"{request.method} {request.path}"
    log.info(
        "request",
        endpoint=endpoint if BEARER_PREFIX not in endpoint else hide_tokens(endpoint),
        vm_id=state.logged_vm_id or (request.view_args or {}).get("vm_id"),
        status=response.status_code,
        duration_ms=round((time.perf_counter() - state.started_at) * 1000, 3),
        **state.log_members,
    )


def generate_request_id() -> str:
    """Return a unique request id. It is no secret, so no system call supplies its bits."""
    return f"req-{uuid.UUID(int=getrandbits(128), version=4)}"  # nosec B311
