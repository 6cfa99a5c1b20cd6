"""Authorize the caller: compare the role with the permission of the endpoint.

A refusal is a 403 and an entry of the audit trail.
"""

from datetime import UTC, datetime

import structlog
from flask import Request

from vmapi.api.middleware.config import MiddlewareConfig
from vmapi.api.request.caller import client_address
from vmapi.api.request.context import RequestState
from vmapi.domain.audit import AuditEntry
from vmapi.domain.caller import Caller
from vmapi.domain.roles import lowest_role
from vmapi.errors import Forbidden, StoreUnavailable, VMNotFound
from vmapi.services.vms.service import canonical_id

log = structlog.get_logger("vmapi.access")


def authorize(_: MiddlewareConfig, request: Request, state: RequestState) -> None:
    """Raise Forbidden if the caller lacks the permission of the endpoint."""
    permission, identity = state.required_permission, state.identity
    if permission is None or identity.has_permission(permission):
        return
    _audit_refusal(request, state)
    role = lowest_role(permission)
    detail = f"This needs the role {role}; {identity.subject} has {identity.role or 'none'}."
    raise Forbidden(detail, role_needed=role)


def _audit_refusal(request: Request, state: RequestState) -> None:
    identity, address = state.identity, client_address(request)
    caller = Caller(identity.subject, state.request_id, identity.project, address)
    action = (request.endpoint or "").rpartition(".")[2]
    entry = AuditEntry.forbidden(caller, datetime.now(UTC), action, _requested_vm_id(request))
    try:
        state.services.store.audit.add(entry)
    except StoreUnavailable as error:
        # without the entry, the request is refused all the same
        log.error("audit entry for refused request not written", action=action, reason=error.detail)


def _requested_vm_id(request: Request) -> str | None:
    """Return the VM id in the URL; None without one, and for a text that is no id of a VM."""
    try:
        return canonical_id((request.view_args or {}).get("vm_id") or "")
    except VMNotFound:
        return None
