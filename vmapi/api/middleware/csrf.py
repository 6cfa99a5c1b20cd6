"""Refuse requests that web pages of other origins send (CSRF, DNS rebinding).

A web page can make its visitor's browser send requests to any server, also to this machine. The
page cannot read the responses (`vmapi.api.middleware.cors`), but a stop or a delete needs none.
With DNS rebinding, the page points its own host name to this machine and reads the responses, too.
Both attacks work only if vmapi accepts callers without a token: a page cannot send one.
"""

from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import Request

from vmapi.api.middleware.config import MiddlewareConfig
from vmapi.api.middleware.rate_limits import SAFE_METHODS
from vmapi.api.request.context import RequestState
from vmapi.domain.access.identity import ANONYMOUS_SUBJECT
from vmapi.errors import Forbidden
from vmapi.settings.settings import Settings

OWN_SITES = ("same-origin", "none")
"""Values of `Sec-Fetch-Site` for a request of vmapi's own page, or of no page (Fetch Metadata).

Any other value is foreign: `cross-site`, `same-site`, and words that no browser sends.
"""


def trusted_hostnames(settings: Settings) -> frozenset[str]:
    """Return the host names of the allowed origins and of the bind address."""
    return frozenset(_hostname(url) for url in (*settings.cors_origins, f"//{settings.bind}"))


def reject_foreign_pages(config: MiddlewareConfig, request: Request, state: RequestState) -> None:
    """Raise Forbidden for an anonymous request from a web page of an origin not allowed."""
    if not config.allows_anonymous or state.required_permission is None:
        return
    if state.identity.subject != ANONYMOUS_SUBJECT:
        return
    host = request.headers.get("Host", "")
    _check_hostname(host, config)
    if request.method in SAFE_METHODS:
        return
    origin = request.headers.get("Origin")
    if origin in config.origins:
        return
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        is_own = site in OWN_SITES
    else:
        is_own = origin is None or _is_same_origin(origin, host)
    if not is_own:
        raise Forbidden(
            "A web page of another origin sent this request, and vmapi requires no token here. "
            f"To allow it, add {origin or 'its origin'} to VMAPI_CORS_ORIGINS."
        )


def _check_hostname(host: str, config: MiddlewareConfig) -> None:
    hostname, is_public_name = _parse_host(host)
    if is_public_name and hostname not in config.trusted_hostnames:
        raise Forbidden(
            f"vmapi requires no token here, so it does not serve the host name {hostname}: a web "
            "page could have pointed that name to this machine. Use the IP address, or add the "
            "origin to VMAPI_CORS_ORIGINS."
        )


def _hostname(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return "?."


def _is_same_origin(origin: str, host: str) -> bool:
    """Return whether an origin has the name and the port of a `Host` header.

    The scheme is not compared: behind a TLS proxy, vmapi itself sees plain HTTP.
    """
    try:
        origin_url, host_url = urlsplit(origin), urlsplit(f"//{host}")
        default_port = {"http": 80, "https": 443}.get(origin_url.scheme)
        same_port = (origin_url.port or default_port) == (host_url.port or default_port)
    except ValueError:
        return False
    return same_port and _hostname(origin) == _hostname(f"//{host}")


@lru_cache(256)
def _parse_host(host: str) -> tuple[str, bool]:
    """Return the host name of a `Host` header, and whether public DNS may resolve it."""
    hostname = _hostname(f"//{host}")
    # a name without a dot is local; a request without a name is not from a browser
    if "." not in hostname or hostname.endswith(".localhost"):
        return hostname, False
    try:
        ip_address(hostname)
    except ValueError:
        return hostname, True
    return hostname, False
