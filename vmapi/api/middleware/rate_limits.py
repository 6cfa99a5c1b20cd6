"""Limit the rate of requests by client address and by caller.

The headers `RateLimit` and `RateLimit-Policy` follow draft-ietf-httpapi-ratelimit-headers-10.
"""

from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network

from flask import Request, Response

from vmapi.api.middleware.config import MiddlewareConfig
from vmapi.api.openapi.blueprint import RATE_LIMIT_EXEMPT
from vmapi.api.request.context import RequestState
from vmapi.concurrency.nonblocking import run_once
from vmapi.domain.identity import ANONYMOUS_SUBJECT
from vmapi.services.access.rate_limits import enforce

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
"""RFC 9110, section 9.2.1."""


def limit_by_address(_: MiddlewareConfig, request: Request, state: RequestState) -> None:
    """Count the request for the client address. Raises RateLimited."""
    if request.blueprint not in RATE_LIMIT_EXEMPT:
        _hit(state, "address", client_network(request.remote_addr or ""))


def limit_by_caller(_: MiddlewareConfig, request: Request, state: RequestState) -> None:
    """Count the request for the caller; anonymous callers count by address. Raises RateLimited."""
    if request.blueprint in RATE_LIMIT_EXEMPT:
        return
    user = state.identity.subject
    is_anonymous = user == ANONYMOUS_SUBJECT
    key = client_network(request.remote_addr or "") if is_anonymous else f"user {user}"
    _hit(state, "reads" if request.method in SAFE_METHODS else "changes", key)


def add_rate_limit_headers(
    _: MiddlewareConfig, __: Request, state: RequestState, response: Response
) -> None:
    """Add `RateLimit` and `RateLimit-Policy` if a limit counted the request."""
    if not state.rate_limits:
        return
    policies, remaining = [], []
    for status in state.rate_limits:
        limit = status.limit
        policies.append(f'"{limit.name}";q={limit.amount};w={limit.window}')
        remaining.append(f'"{limit.name}";r={max(0, status.remaining)};t={status.reset_after}')
    response.headers.add("RateLimit-Policy", ", ".join(policies))
    response.headers.add("RateLimit", ", ".join(remaining))


def _hit(state: RequestState, kind: str, key: str) -> None:
    limiter = state.services.rate_limiter
    statuses = run_once(("rate limit", kind), lambda: limiter.hit(kind, key))
    state.rate_limits += statuses
    enforce(kind, statuses)


@lru_cache(4096)
def client_network(address: str) -> str:
    """Return the network of one client: an IPv4 address, or an IPv6 /64 (RFC 6177)."""
    try:
        ipv6 = IPv6Address(address)
    except ValueError:
        return address
    if ipv6.ipv4_mapped is not None:
        return str(ipv6.ipv4_mapped)
    return str(IPv6Network((int(ipv6), 64), strict=False))
