"""Authenticate the caller: parse the token headers and validate the token.

`Authorization: Bearer TOKEN` (RFC 6750) or, where Keystone is configured, `X-Auth-Token`. A token
in the URL or the body is never read. A missing or invalid token ends the request with 401; the
permission check (403) is in `vmapi.api.middleware.authorization`.
"""

import re
from collections.abc import Callable
from functools import partial

import structlog
from flask import Request

from vmapi.api.middleware.config import MiddlewareConfig
from vmapi.api.request.caller import client_address
from vmapi.api.request.context import RequestState
from vmapi.domain.access.identity import Identity
from vmapi.errors import IssuerUnavailable, MalformedRequest, StoreUnavailable, Unauthenticated

BEARER_TOKEN_PATTERN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)
"""RFC 6750, section 2.1."""


def authenticate(config: MiddlewareConfig, request: Request, state: RequestState) -> None:
    """Set the identity of the request, unless the endpoint is public.

    Raises Unauthenticated, MalformedRequest, StoreUnavailable or IssuerUnavailable.
    """
    # an unknown URL is a 404 for every caller, and a browser sends OPTIONS without a token
    if request.endpoint is None or request.method == "OPTIONS":
        return
    state.required_permission = config.permissions[request.endpoint]
    if state.required_permission is not None:
        state.authenticate = _authenticator(request, state)
        state.identity = state.authenticate()
        structlog.contextvars.bind_contextvars(user=state.identity.subject)


def is_still_authenticated(authenticate: Callable[[], Identity]) -> bool:
    """Validate the credentials of a long response again; return False if they are refused.

    An unreachable store or issuer refuses nothing: the response continues.
    """
    try:
        authenticate()
    except Unauthenticated:
        return False
    except (StoreUnavailable, IssuerUnavailable):
        return True
    return True


def _authenticator(request: Request, state: RequestState) -> partial[Identity]:
    """Parse the token headers; return a function that validates the token."""
    authenticator = state.services.authenticator
    token, keystone_token = _bearer_token(request), request.headers.get("X-Auth-Token")
    if keystone_token is None or authenticator.keystone_validator is None:
        return partial(authenticator.authenticate, token, client_address(request))
    if token is not None:
        raise MalformedRequest("Send a token in Authorization or in X-Auth-Token, not in both.")
    if BEARER_TOKEN_PATTERN.fullmatch(keystone_token) is None:
        raise Unauthenticated("X-Auth-Token contains no valid token.", credentials_sent=True)
    return partial(authenticator.authenticate_with_keystone, keystone_token)


def _bearer_token(request: Request) -> str | None:
    """Return the bearer token of the `Authorization` header; None for another scheme."""
    # not `request.authorization`: it raises for Basic credentials that are not ASCII
    header = request.headers.get("Authorization")
    if header is None:
        return None
    scheme, _, token = header.strip().partition(" ")
    if scheme.lower() != "bearer":
        return None
    # several spaces may precede the token (RFC 9110, section 11.4)
    token = token.lstrip(" ")
    if BEARER_TOKEN_PATTERN.fullmatch(token) is None:
        detail = "Authorization must have the form: Bearer TOKEN."
        raise Unauthenticated(detail, credentials_sent=True)
    return token
