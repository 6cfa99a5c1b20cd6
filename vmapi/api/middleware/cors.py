"""Cross-origin reads and changes by the origins that an operator has named (the Fetch standard).

Cookies are not at stake: a script says who it is in a header, so credentials are never allowed.
"""

from collections.abc import Callable

from flask import Flask, Response, request

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
"""Seconds for which a browser keeps the answer to a preflight."""


def init_app(app: Flask, origins: tuple[str, ...]) -> None:
    """Let scripts of these origins, and no others, read what is answered."""
    if not origins:
        return
    app.before_request(_preflight(origins))
    app.after_request(_open_to(origins))


def _preflight(origins: tuple[str, ...]) -> Callable[[], Response | None]:
    def answer() -> Response | None:
        """Answer what a browser asks before a request, whoever would have to be asked then."""
        asks = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        if not asks or request.headers.get("Origin") not in origins:
            return None
        headers = {
            "Access-Control-Allow-Methods": ALLOWED_METHODS,
            "Access-Control-Allow-Headers": ALLOWED_HEADERS,
            "Access-Control-Max-Age": PREFLIGHT_MAX_AGE_SECONDS,
        }
        allowed = Response(status=204, headers=headers)
        del allowed.headers["Content-Type"]
        return allowed

    return answer


def _open_to(origins: tuple[str, ...]) -> Callable[[Response], Response]:
    def complete(response: Response) -> Response:
        # whoever asks, so that a cache does not give one origin's answer to another
        response.vary.add("Origin")
        origin = request.headers.get("Origin")
        if origin in origins:
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
        return response

    return complete
