"""Allow scripts of configured origins to use the API (CORS, the Fetch standard).

Credentials mode is never allowed: scripts send a token in a header, and vmapi sets no cookies.
"""

from flask import Request, Response

from vmapi.api.middleware.config import MiddlewareConfig
from vmapi.api.request.context import RequestState

ALLOWED_METHODS = "GET, HEAD, POST, PATCH, DELETE"
ALLOWED_HEADERS = (
    "Authorization, X-Auth-Token, Content-Type, Cache-Control, Idempotency-Key, If-Match, "
    "If-None-Match, Last-Event-ID, Prefer, X-Request-ID"
)
EXPOSED_HEADERS = (
    "Age, Allow, ETag, Idempotent-Replayed, Link, Location, Operation-Location, "
    "Preference-Applied, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Request-ID"
)
PREFLIGHT_MAX_AGE_SECONDS = "600"


def answer_preflight(
    config: MiddlewareConfig, request: Request, _: RequestState
) -> Response | None:
    """Return the response to a preflight request of an allowed origin."""
    is_preflight = (
        request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    )
    if not is_preflight or request.headers.get("Origin") not in config.origins:
        return None
    headers = {
        "Access-Control-Allow-Methods": ALLOWED_METHODS,
        "Access-Control-Allow-Headers": ALLOWED_HEADERS,
        "Access-Control-Max-Age": PREFLIGHT_MAX_AGE_SECONDS,
    }
    response = Response(status=204, headers=headers)
    del response.headers["Content-Type"]
    return response


def add_cors_headers(
    config: MiddlewareConfig, request: Request, _: RequestState, response: Response
) -> None:
    """Let scripts of an allowed origin read the response."""
    if not config.origins:
        return
    # for every caller: a cache must not serve one origin's response to another
    response.vary.add("Origin")
    origin = request.headers.get("Origin")
    if origin in config.origins:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
