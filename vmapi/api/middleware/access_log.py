"""The first and the last hook: the request state and the access log line."""

import re
import time
import uuid

import structlog
from flask import Response, g, request
from werkzeug.exceptions import NotFound

from vmapi.api.middleware.config import MiddlewareConfig
from vmapi.api.request.caller import set_identity
from vmapi.api.request.context import RequestState, request_state
from vmapi.concurrency import bulkhead
from vmapi.domain.identity import UNAUTHENTICATED

REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")

log = structlog.get_logger("vmapi.access")


def begin_request(_: MiddlewareConfig) -> None:
    """Create the request state; a valid `X-Request-ID` of the client becomes the request id."""
    started_at = time.perf_counter()
    bulkhead.begin_request()
    header = request.headers.get("X-Request-ID", "")
    request_id = header if REQUEST_ID_PATTERN.fullmatch(header) else f"req-{uuid.uuid4()}"
    g.request_state = RequestState(request_id, started_at)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=request_id)
    set_identity(UNAUTHENTICATED)
    if request.environ["PATH_INFO"].startswith("//"):
        # werkzeug ignores all but one of the slashes, and would serve the URL
        request.url_rule, request.routing_exception = None, NotFound()


def end_request(_: MiddlewareConfig, response: Response) -> Response:
    """Add `X-Request-ID` and write the access log line."""
    state = request_state()
    response.headers["X-Request-ID"] = state.request_id
    log.info(
        "request",
        endpoint=f"{request.method} {request.path}",
        vm_id=state.logged_vm_id or (request.view_args or {}).get("vm_id"),
        status=response.status_code,
        duration_ms=round((time.perf_counter() - state.started_at) * 1000, 3),
    )
    return response
