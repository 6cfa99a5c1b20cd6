"""Hooks that run before and after every request, in the order of two tuples.

`vmapi.app` installs them. A hook before the request that raises or returns a response ends the
request; the hooks after the request always run.
"""

from collections.abc import Callable

from flask import Flask, Request, Response, g, request

from vmapi.api.middleware import (
    access_log,
    authentication,
    authorization,
    cors,
    csrf,
    rate_limits,
    request_metrics,
    request_spans,
    security_headers,
    single_process,
)
from vmapi.api.middleware.config import MiddlewareConfig
from vmapi.api.openapi.permissions import permissions_by_endpoint
from vmapi.api.request.context import RequestState, request_state
from vmapi.settings.settings import Settings

BeforeHook = Callable[[MiddlewareConfig, Request, RequestState], Response | None]
AfterHook = Callable[[MiddlewareConfig, Request, RequestState, Response], None]

BEFORE_REQUEST: tuple[BeforeHook, ...] = (
    # first: the other hooks may read the database
    request_spans.begin_span,
    # a preflight request has no token and counts for no rate limit
    cors.answer_preflight,
    # before authentication: a client that guesses tokens is limited by its address
    rate_limits.limit_by_address,
    authentication.authenticate,
    # before the caller's limit: a foreign web page must not use up the rate of anonymous callers
    csrf.reject_foreign_pages,
    # before authorization: a caller without the permission is limited, too
    rate_limits.limit_by_caller,
    authorization.authorize,
    # last: callers without permission learn nothing about the processes
    single_process.reject_multiple_processes,
)

AFTER_REQUEST: tuple[AfterHook, ...] = (
    rate_limits.add_rate_limit_headers,
    cors.add_cors_headers,
    # after the hooks and views that set one of these headers
    security_headers.add_default_headers,
    # last: they have the final status and the whole duration
    request_metrics.record_request,
    access_log.end_request,
    # after the log line, which names the span
    request_spans.end_span,
)


def install(app: Flask, settings: Settings, *, single_process_backend: bool) -> None:
    """Install all hooks; call it when every endpoint is registered.

    Raises TypeError for an endpoint without a declared permission.
    """
    config = MiddlewareConfig(
        permissions=permissions_by_endpoint(app),
        origins=settings.cors_origins,
        trusted_hostnames=csrf.trusted_hostnames(settings),
        allows_anonymous="none" in settings.auth_schemes,
        single_process_backend=settings.backend if single_process_backend else None,
    )

    @app.before_request
    def before_request() -> Response | None:
        # one lookup of the request for all hooks
        current = request._get_current_object()  # type: ignore[attr-defined]
        # first: every hook and log line needs the request state
        g.request_state = state = access_log.begin_request(current)
        responses = (hook(config, current, state) for hook in BEFORE_REQUEST)
        return next((response for response in responses if response is not None), None)

    @app.after_request
    def after_request(response: Response) -> Response:
        current = request._get_current_object()  # type: ignore[attr-defined]
        state = request_state()
        for hook in AFTER_REQUEST:
            hook(config, current, state, response)
        return response
