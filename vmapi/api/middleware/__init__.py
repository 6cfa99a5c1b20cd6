"""Hooks that run before and after every request, in the order of two tuples.

`vmapi.app` installs them. A hook before the request that raises or returns a response ends the
request; the hooks after the request always run.
"""

from collections.abc import Callable
from functools import partial

from flask import Flask, Response

from vmapi.api.middleware import (
    access_log,
    authentication,
    authorization,
    cors,
    csrf,
    rate_limits,
    security_headers,
    single_process,
)
from vmapi.api.middleware.config import MiddlewareConfig
from vmapi.api.openapi.permissions import permissions_by_endpoint
from vmapi.settings.settings import Settings

BEFORE_REQUEST: tuple[Callable[[MiddlewareConfig], Response | None], ...] = (
    # every other hook and log line needs the request state
    access_log.begin_request,
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

AFTER_REQUEST: tuple[Callable[[MiddlewareConfig, Response], Response], ...] = (
    rate_limits.add_rate_limit_headers,
    cors.add_cors_headers,
    # after the hooks and views that set one of these headers
    security_headers.add_default_headers,
    # last: it logs the final status and the whole duration
    access_log.end_request,
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
    for before in BEFORE_REQUEST:
        app.before_request(partial(before, config))
    # Flask runs these hooks in reverse order
    for after in reversed(AFTER_REQUEST):
        app.after_request(partial(after, config))
