"""Record a span for each request, in the trace that its `traceparent` names.

W3C Trace Context. The span has the path without the query, and no text of an unknown URL.
"""

from flask import Request, Response

from vmapi.api.middleware.config import MiddlewareConfig
from vmapi.api.middleware.request_metrics import METHODS, route_template
from vmapi.api.request.context import RequestState
from vmapi.domain.access.api_token import hide_tokens
from vmapi.telemetry.tracing.tracer import TRACER

UNKNOWN_METHOD = "_OTHER"
"""The method that OpenTelemetry's semantic conventions name for one without a meaning."""

CONTEXT_HEADERS = ("traceparent", "tracestate")


def begin_span(_: MiddlewareConfig, request: Request, state: RequestState) -> None:
    """Begin the span of a request."""
    if not TRACER.is_enabled:
        return
    method = request.method if request.method in METHODS else UNKNOWN_METHOD
    attributes = {"http.request.method": method, "vmapi.request_id": state.request_id}
    name = method
    if request.url_rule is not None:
        route = route_template(request.url_rule.rule)
        name = f"{method} {route}"
        attributes |= {"http.route": route, "url.path": hide_tokens(request.path)}
    headers = {name: request.headers.get(name, "") for name in CONTEXT_HEADERS}
    state.span = TRACER.begin_request(name, headers, attributes)


def end_span(
    _: MiddlewareConfig, request: Request, state: RequestState, response: Response
) -> None:
    """End the span of a request; the body of an event stream follows later."""
    if state.span is None:
        return
    vm_id = state.logged_vm_id or (request.view_args or {}).get("vm_id")
    state.span.end(response.status_code, {"vmapi.vm.id": vm_id} if vm_id else {})
