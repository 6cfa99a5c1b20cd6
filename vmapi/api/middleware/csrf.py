"""What a web page may not have a browser do here, where nobody is asked who it is.

A page that its user opens may send a browser's requests anywhere, also to this machine. It cannot
read what is answered (`vmapi.api.cors`), but a stop or a delete needs no answer. And it can, where
it has its own name lead to this machine (DNS rebinding). Who has to send a token is safe from both.
"""

from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import Flask, g, request

from vmapi.api.middleware.rate_limits import SAFE_METHODS
from vmapi.api.request.caller import current_user
from vmapi.domain.identity import ANONYMOUS_SUBJECT
from vmapi.errors import Forbidden
from vmapi.settings.settings import Settings

FOREIGN_SITES = ("cross-site", "same-site")
"""What a browser says of a request that another origin's page makes (Fetch Metadata)."""


def init_app(app: Flask, settings: Settings) -> None:
    """Refuse what pages of other origins send, unless the settings name the origin."""
    if "none" in settings.auth_schemes:
        app.before_request(_check(settings))


def _check(settings: Settings) -> Callable[[], None]:
    origins = settings.cors_origins
    names = {_hostname(origin) for origin in (*origins, f"//{settings.bind}")}

    def check() -> None:
        if g.needed is None or current_user() != ANONYMOUS_SUBJECT:
            return
        host, origin = request.headers.get("Host", ""), request.headers.get("Origin")
        name = _hostname(f"//{host}")
        if not (_is_not_public_name(name) or name in names):
            raise Forbidden(
                f"Nobody is asked for a token here, so this is not served by the name {name}: a "
                "web page could have made it lead here. Use the address, or name the origin in "
                "VMAPI_CORS_ORIGINS."
            )
        if request.method in SAFE_METHODS or origin in origins:
            return
        site = request.headers.get("Sec-Fetch-Site")
        if site in FOREIGN_SITES or (
            site is None and origin is not None and not _is_same_origin(origin, host)
        ):
            raise Forbidden(
                "A web page of another origin sent this, and nobody is asked for a token here. "
                f"Name {origin or 'its origin'} in VMAPI_CORS_ORIGINS if it may."
            )

    return check


def _hostname(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return "?."


def _is_same_origin(origin: str, host: str) -> bool:
    """Tell whether an origin is at a Host: its name and its port.

    The scheme is left out: a proxy that speaks TLS hands on what it got without it.
    """
    try:
        theirs, ours = urlsplit(origin), urlsplit(f"//{host}")
        default = {"http": 80, "https": 443}.get(theirs.scheme)
        same = (theirs.port or default) == (ours.port or default)
    except ValueError:
        return False
    return same and _hostname(origin) == _hostname(f"//{host}")


def _is_not_public_name(name: str) -> bool:
    """Tell whether nobody can have a name, as a public one, lead to another machine."""
    # one without a dot is this machine's or this network's; none at all is no browser's
    if "." not in name or name.endswith(".localhost"):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
