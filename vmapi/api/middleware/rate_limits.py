"""Limits on how often requests are made, and the headers that tell how one stands with them.

`RateLimit` and `RateLimit-Policy` are those of draft-ietf-httpapi-ratelimit-headers-10.
"""

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network

from flask import Flask, Response, g, request

from vmapi.api.openapi.blueprint import RATE_LIMIT_EXEMPT
from vmapi.api.request.caller import current_user
from vmapi.api.request.context import current_services
from vmapi.domain.identity import ANONYMOUS_SUBJECT
from vmapi.services.access.rate_limits import RateLimitStatus, enforce

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")


def addresses(app: Flask) -> None:
    """Limit each address, before it is asked who the caller is."""
    app.before_request(_address)
    app.after_request(_tell)


def callers(app: Flask) -> None:
    """Limit each caller, who is known by now."""
    app.before_request(_caller)


def _address() -> None:
    g.standings = []
    _enforce("address", client_network(request.remote_addr or ""))


def _caller() -> None:
    known = current_user()
    who = (
        client_network(request.remote_addr or "") if known == ANONYMOUS_SUBJECT else f"user {known}"
    )
    _enforce("reads" if request.method in SAFE_METHODS else "changes", who)


def _enforce(kind: str, who: str) -> None:
    if request.blueprint in RATE_LIMIT_EXEMPT:
        return
    standings = current_services().rate_limiter.hit(kind, who)
    g.standings += standings
    enforce(kind, standings)


def _tell(response: Response) -> Response:
    # a preflight ends before it is counted
    standings: list[RateLimitStatus] = g.get("standings", [])
    if standings:
        response.headers["RateLimit-Policy"] = ", ".join(
            f'"{each.limit.name}";q={each.limit.amount};w={each.limit.window}' for each in standings
        )
        response.headers["RateLimit"] = ", ".join(
            f'"{each.limit.name}";r={max(0, each.remaining)};t={each.reset_after}'
            for each in standings
        )
    return response


@lru_cache(4096)
def client_network(address: str) -> str:
    """Return whom an address stands for: of IPv6, one client has a whole /64 (RFC 6177)."""
    try:
        found = IPv6Address(address)
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Network((int(found), 64), strict=False))
