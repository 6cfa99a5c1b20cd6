"""Limits on how often requests are made, and the headers that tell how one stands with them.

`RateLimit` and `RateLimit-Policy` are those of draft-ietf-httpapi-ratelimit-headers-10.
"""

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network

from flask import Flask, Response, g, request

from vmapi.api.openapi.blueprint import UNLIMITED
from vmapi.api.request.caller import user
from vmapi.api.request.context import services
from vmapi.domain.identity import UNNAMED
from vmapi.services.access.rate_limits import Standing, check

READS = ("GET", "HEAD", "OPTIONS")


def addresses(app: Flask) -> None:
    """Limit each address, before it is asked who the caller is."""
    app.before_request(_address)
    app.after_request(_tell)


def callers(app: Flask) -> None:
    """Limit each caller, who is known by now."""
    app.before_request(_caller)


def _address() -> None:
    g.standings = []
    _spend("address", network(request.remote_addr or ""))


def _caller() -> None:
    known = user()
    who = network(request.remote_addr or "") if known == UNNAMED else f"user {known}"
    _spend("reads" if request.method in READS else "changes", who)


def _spend(kind: str, who: str) -> None:
    if request.blueprint in UNLIMITED:
        return
    standings = services().rates.spend(kind, who)
    g.standings += standings
    check(kind, standings)


def _tell(response: Response) -> Response:
    # a preflight ends before it is counted
    standings: list[Standing] = g.get("standings", [])
    if standings:
        response.headers["RateLimit-Policy"] = ", ".join(
            f'"{each.rate.name}";q={each.rate.amount};w={each.rate.window}' for each in standings
        )
        response.headers["RateLimit"] = ", ".join(
            f'"{each.rate.name}";r={max(0, each.left)};t={each.resets}' for each in standings
        )
    return response


@lru_cache(4096)
def network(address: str) -> str:
    """Return whom an address stands for: of IPv6, one client has a whole /64 (RFC 6177)."""
    try:
        found = IPv6Address(address)
    except ValueError:
        return address
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Network((int(found), 64), strict=False))
