"""Record the duration of each request by method, route and status."""

import re
import time
from functools import lru_cache

from flask import Request, Response

from vmapi.api.middleware.config import MiddlewareConfig
from vmapi.api.request.context import RequestState
from vmapi.telemetry.metrics.catalog import HTTP_REQUEST_SECONDS

UNKNOWN_ROUTE = "unknown"
"""The route of a URL or method that vmapi does not have."""

OTHER_METHOD = "other"

VARIABLE_PATTERN = re.compile(r"<(?:\w+:)?(\w+)>")
"""A variable of a rule, with or without a converter."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def record_request(
    _: MiddlewareConfig, request: Request, state: RequestState, response: Response
) -> None:
    """Record a request; one that is served twice raises WouldBlock first, and counts once."""
    HTTP_REQUEST_SECONDS.observe(
        time.perf_counter() - state.started_at,
        request.method if request.method in METHODS else OTHER_METHOD,
        route_template(request.url_rule.rule) if request.url_rule else UNKNOWN_ROUTE,
        str(response.status_code),
    )


@lru_cache(256)
def route_template(rule: str) -> str:
    """Return a rule of Flask in the form of OpenAPI: `/vms/{vm_id}`."""
    return VARIABLE_PATTERN.sub(r"{\1}", rule)
