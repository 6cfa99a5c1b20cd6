"""Limit the rate of requests by client address and by caller.

The headers `RateLimit` and `RateLimit-Policy` follow draft-ietf-httpapi-ratelimit-headers-10.
"""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address, IPv6Network

from flask import Request, Response

from vmapi.api.middleware.config import MiddlewareConfig
from vmapi.api.openapi.blueprint import RATE_LIMIT_EXEMPT
from vmapi.api.request.context import RequestState
from vmapi.concurrency.nonblocking import raise_if_nonblocking, run_once
from vmapi.domain.access.identity import ANONYMOUS_SUBJECT
from vmapi.domain.access.roles import Permission
from vmapi.services.access.rate_limits import RateLimitStatus, enforce

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
"""RFC 9110, section 9.2.1."""


def limit_by_address(_: MiddlewareConfig, request: Request, state: RequestState) -> None:
    """Count the request for the client address. Raises RateLimited."""
    if not _is_exempt(request):
        _hit(state, "address", client_network(request.remote_addr or ""))


def limit_by_caller(_: MiddlewareConfig, request: Request, state: RequestState) -> None:
    """Count the request for the caller; anonymous callers count by address. Raises RateLimited."""
    if _is_exempt(request):
        return
    # a POST of GraphQL counts as a read, and each of its mutations as a change
    is_read = request.method in SAFE_METHODS or state.required_permission is Permission.READ
    _hit(state, "reads" if is_read else "changes", _caller_key(request, state))


def limit_change(request: Request, state: RequestState) -> None:
    """Count one change of a request that may have several. Raises RateLimited."""
    # a change is in a thread that may wait: no second run counts it again
    raise_if_nonblocking()
    _enforce(
        state, "changes", state.services.rate_limiter.hit("changes", _caller_key(request, state))
    )


def _caller_key(request: Request, state: RequestState) -> str:
    user = state.identity.subject
    is_anonymous = user == ANONYMOUS_SUBJECT
    return client_network(request.remote_addr or "") if is_anonymous else f"user {user}"


def _is_exempt(request: Request) -> bool:
    # a version other than the main one has its name as a prefix
    return (request.blueprint or "").rpartition(".")[2] in RATE_LIMIT_EXEMPT


def add_rate_limit_headers(
    _: MiddlewareConfig, __: Request, state: RequestState, response: Response
) -> None:
    """Add `RateLimit` and `RateLimit-Policy` if a limit counted the request."""
    if not state.rate_limits:
        return
    policies, remaining = [], []
    for status in state.rate_limits.values():
        limit = status.limit
        policies.append(f'"{limit.name}";q={limit.amount};w={limit.window}')
        remaining.append(f'"{limit.name}";r={max(0, status.remaining)};t={status.reset_after}')
    response.headers.add("RateLimit-Policy", ", ".join(policies))
    response.headers.add("RateLimit", ", ".join(remaining))


def _hit(state: RequestState, kind: str, key: str) -> None:
    limiter = state.services.rate_limiter
    _enforce(state, kind, run_once(("rate limit", kind), lambda: limiter.hit(kind, key)))


def _enforce(state: RequestState, kind: str, statuses: Sequence[RateLimitStatus]) -> None:
    # the last hit of a limit has its current state
    state.rate_limits |= {status.limit.name: status for status in statuses}
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
