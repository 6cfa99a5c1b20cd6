"""Who may: each request is let in or refused before anything else of it is read."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import structlog
from flask import Flask, g, request

from vmapi.api.openapi.permissions import needs_of
from vmapi.api.request.caller import address, identity, known_as, user
from vmapi.api.request.context import request_id, services
from vmapi.domain.audit import AuditEntry
from vmapi.domain.identity import Identity
from vmapi.domain.operation import Caller
from vmapi.domain.roles import Permission, least
from vmapi.errors import (
    Forbidden,
    IssuerUnavailable,
    MalformedRequest,
    StoreUnavailable,
    Unauthenticated,
)

TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)
"""RFC 6750, section 2.1."""

log = structlog.get_logger("vmapi.access")


def ask(app: Flask) -> None:
    """Ask each request who it is. Call it when every endpoint is there.

    Raises TypeError for one that does not say what it needs.
    """
    app.before_request(partial(_ask, needs_of(app)))


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
        known_as(_admission()())


def _permit() -> None:
    if g.needed is not None and not identity().may(g.needed):
        _refuse(g.needed)


def _admission() -> Callable[[], Identity]:
    gate, token, keystones = services().gate, _token(), request.headers.get("X-Auth-Token")
    if keystones is None or gate.keystone is None:
        return partial(gate.admit, token, address())
    if token is not None:
        raise MalformedRequest("Send a token in Authorization or in X-Auth-Token, not in both.")
    if TOKEN.fullmatch(keystones) is None:
        raise Unauthenticated("X-Auth-Token holds no token.", sent=True)
    return partial(gate.admit_by_keystone, keystones)


def _token() -> str | None:
    """Return the token of this request: from its header only, never from its URL."""
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer":
        return None
    # there may be several spaces (RFC 9110, section 11.4)
    token = token.lstrip(" ")
    if TOKEN.fullmatch(token) is None:
        raise Unauthenticated("Authorization is not of the form: Bearer TOKEN.", sent=True)
    return token


def _refuse(permission: Permission) -> None:
    role, asked = least(permission), (request.endpoint or "").rpartition(".")[2]
    _keep(asked)
    has = f"{identity().subject} has {identity().role or 'none'}"
    raise Forbidden(f"This needs the role {role}; {has}.", role_needed=role)


def _keep(asked: str) -> None:
    who = Caller(user(), request_id(), identity().project, address())
    vm_id = (request.view_args or {}).get("vm_id")
    entry = AuditEntry.forbidden(who, datetime.now(UTC), asked, vm_id)
    try:
        services().store.audit.add(entry)
    except StoreUnavailable as away:
        # it stays a refusal
        log.error("a refusal is not in the audit trail", action=asked, reason=away.detail)
