"""Who may: each request is let in or refused before anything else of it is read."""

import re
from datetime import UTC, datetime
from functools import partial
from typing import Any

import structlog
from flask import Flask, request

from vmapi.api.context import address, identity, known_as, request_id, services, user
from vmapi.errors import Forbidden, MalformedRequest, StoreUnavailable, Unauthenticated
from vmapi.models.audit import AuditEntry
from vmapi.models.identity import Identity
from vmapi.models.operation import Caller
from vmapi.models.roles import Permission, least
from vmapi.security.gate import Gate

TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)
"""RFC 6750, section 2.1."""

log = structlog.get_logger("vmapi.access")


def init_app(app: Flask) -> None:
    """Ask for what the endpoints need, which are all there by now.

    Raises TypeError for one that does not say what that is.
    """
    app.before_request(partial(_check, needs(app)))


def needs(app: Flask) -> dict[str, Permission | None]:
    """Return what each endpoint needs. Raises TypeError for one that does not say."""
    return {name: _need(name, view) for name, view in app.view_functions.items()}


def _need(name: str, view: Any) -> Permission | None:
    doc = getattr(view, "_apidoc", {})
    if "needs" not in doc:
        raise TypeError(f"the endpoint {name} does not say what it needs: @blp.needs(…)")
    permission: Permission | None = doc["needs"]
    return permission


def _check(needed: dict[str, Permission | None]) -> None:
    # what is not there is not there for anybody, and a browser asks for OPTIONS without a token
    if request.endpoint is None or request.method == "OPTIONS":
        return
    permission = needed[request.endpoint]
    if permission is None:
        return
    known_as(_admitted(services().gate))
    if not identity().may(permission):
        _refuse(permission)


def _admitted(gate: Gate) -> Identity:
    token, keystones = _token(), request.headers.get("X-Auth-Token")
    if keystones is None or gate.keystone is None:
        return gate.admit(token, address())
    if token is not None:
        raise MalformedRequest("Send a token in Authorization or in X-Auth-Token, not in both.")
    if TOKEN.fullmatch(keystones) is None:
        raise Unauthenticated("X-Auth-Token holds no token.", sent=True)
    return gate.admit_by_keystone(keystones)


def _token() -> str | None:
    """Return the token of this request: from its header only, never from its URL."""
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() != "bearer":
        return None
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
