"""The headers that tell a browser what it may do with an answer. All answers carry them.

Strict-Transport-Security is not among them: it belongs to whoever speaks TLS (config/nginx.conf).
"""

from flask import Flask, Response

SECURITY_HEADERS = {
    # an answer of the API is data: opened as a page it may load, run and frame nothing
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
"""What the docs page and its assets carry in their place."""

# kept for one caller at most, and asked for again each time, by ETag where there is one (RFC 9111)
DEFAULT_HEADERS = {**SECURITY_HEADERS, "Cache-Control": "private, no-cache"}


def init_app(app: Flask) -> None:
    """Give every answer these headers, where it has none of its own."""
    app.after_request(_complete)


def _complete(response: Response) -> Response:
    # to ask for each by its name costs an exception where it is missing
    present = {name.lower() for name, _ in response.headers}
    for name, value in DEFAULT_HEADERS.items():
        if name.lower() not in present:
            response.headers.add(name, value)
    return response
