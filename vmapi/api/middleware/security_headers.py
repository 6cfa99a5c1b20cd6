"""Security headers of every response but a 304, for which the client keeps those it has.

Strict-Transport-Security is not among them: the proxy that terminates TLS sends it
(config/nginx.conf).
"""

from flask import Request, Response

from vmapi.api.middleware.config import MiddlewareConfig
from vmapi.api.request.context import RequestState

SECURITY_HEADERS = {
    # an API response is data: opened as a page, it may load, run and frame nothing
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
DOCS_PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
}
"""Headers of the documentation page and its assets, instead of the defaults."""

# a cache stores the response for one caller only and revalidates it each time (RFC 9111)
DEFAULT_HEADERS = {**SECURITY_HEADERS, "Cache-Control": "private, no-cache"}


def add_default_headers(
    _: MiddlewareConfig, __: Request, ___: RequestState, response: Response
) -> None:
    """Add each default header that the response does not have."""
    if response.status_code == 304:
        # the client keeps the headers of the response that it has (RFC 9110, section 15.4.5)
        return
    # one pass: a lookup by name raises and catches an exception for every missing header
    present = {name.lower() for name, _ in response.headers}
    for name, value in DEFAULT_HEADERS.items():
        if name.lower() not in present:
            response.headers.add(name, value)
