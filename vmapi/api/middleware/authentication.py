"""Who may: each request is let in or refused before anything else of it is read."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import structlog
from flask import Flask, g, request

from vmapi.api.openapi.permissions import permissions_by_endpoint
from vmapi.api.request.caller import client_address, current_identity, current_user, set_identity
from vmapi.api.request.context import current_request_id, current_services
from vmapi.domain.audit import AuditEntry
from vmapi.domain.caller import Caller
from vmapi.domain.identity import Identity
from vmapi.domain.roles import Permission, lowest_role
from vmapi.errors import (
    Forbidden,
    IssuerUnavailable,
    MalformedRequest,
    StoreUnavailable,
    Unauthenticated,
)

BEARER_TOKEN_PATTERN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)
"""RFC 6750, section 2.1."""

log = structlog.get_logger("vmapi.access")


def ask(app: Flask) -> None:
    """Ask each request who it is. Call it when every endpoint is there.

    Raises TypeError for one that does not say what it needs.
    """
    app.before_request(partial(_ask, permissions_by_endpoint(app)))


def permit(app: Flask) -> None:
    """Refuse whose role does not reach."""
    app.before_request(_permit)


def watch() -> Callable[[], bool]:
    """Return what tells, as long as an answer lasts, whether who asked is still let in."""
    admit = _admission()

    def is_let_in() -> bool:
        try:
            admit()
        except Unauthenticated:
            return False
        except (StoreUnavailable, IssuerUnavailable):
            # it is not known that it is not
            return True
        return True

    return is_let_in


def _ask(needed: dict[str, Permission | None]) -> None:
    g.needed = None
    # what is not there is not there for anybody, and a browser asks for OPTIONS without a token
    if request.endpoint is None or request.method == "OPTIONS":
        return
    g.needed = needed[request.endpoint]
    if g.needed is not None:
        set_identity(_admission()())


def _permit() -> None:
    if g.needed is not None and not current_identity().has_permission(g.needed):
        _refuse(g.needed)


def _admission() -> Callable[[], Identity]:
    gate, token, keystones = (
        current_services().authenticator,
        _bearer_token(),
        request.headers.get("X-Auth-Token"),
    )
    if keystones is None or gate.keystone_validator is None:
        return partial(gate.authenticate, token, client_address())
    if token is not None:
        raise MalformedRequest("Send a token in Authorization or in X-Auth-Token, not in both.")
    if BEARER_TOKEN_PATTERN.fullmatch(keystones) is None:
        raise Unauthenticated("X-Auth-Token holds no token.", credentials_sent=True)
    return partial(gate.authenticate_with_keystone, keystones)


def _bearer_token() -> str | None:
    """Return the token of this request: from its header only, never from its URL."""
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer":
        return None
    # there may be several spaces (RFC 9110, section 11.4)
    token = token.lstrip(" ")
    if BEARER_TOKEN_PATTERN.fullmatch(token) is None:
        raise Unauthenticated(
            "Authorization is not of the form: Bearer TOKEN.", credentials_sent=True
        )
    return token


def _refuse(permission: Permission) -> None:
    role, asked = lowest_role(permission), (request.endpoint or "").rpartition(".")[2]
    _audit_refusal(asked)
    has = f"{current_identity().subject} has {current_identity().role or 'none'}"
    raise Forbidden(f"This needs the role {role}; {has}.", role_needed=role)


def _audit_refusal(asked: str) -> None:
    who = Caller(current_user(), current_request_id(), current_identity().project, client_address())
    vm_id = (request.view_args or {}).get("vm_id")
    entry = AuditEntry.forbidden(who, datetime.now(UTC), asked, vm_id)
    try:
        current_services().store.audit.add(entry)
    except StoreUnavailable as away:
        # it stays a refusal
        log.error("a refusal is not in the audit trail", action=asked, reason=away.detail)
