"""Authorize the caller: compare the role with the permission of the endpoint.

A refusal is a 403 and an entry of the audit trail.
"""

from datetime import UTC, datetime

import structlog
from flask import Request

from vmapi.api.middleware.config import MiddlewareConfig
from vmapi.api.request.caller import client_address
from vmapi.api.request.context import RequestState
from vmapi.domain.access.caller import Caller
from vmapi.domain.access.roles import Permission, lowest_role
from vmapi.domain.audit import AuditEntry
from vmapi.errors import Forbidden, StoreUnavailable, VMNotFound
from vmapi.services.vms.service import canonical_id

log = structlog.get_logger("vmapi.access")


def authorize(_: MiddlewareConfig, request: Request, state: RequestState) -> None:
    """Raise Forbidden if the caller lacks the permission of the endpoint."""
    if state.required_permission is not None:
        action = (request.endpoint or "").rpartition(".")[2]
        vm_id = (request.view_args or {}).get("vm_id")
        require_permission(state.required_permission, state, action, vm_id)


def require_permission(
    permission: Permission, state: RequestState, action: str, vm_id: str | None
) -> None:
    """Raise Forbidden if the caller lacks a permission.

    The audit entry of the refusal has the action and the VM id of the client.
    """
    identity = state.identity
    if identity.has_permission(permission):
        return
    _audit_refusal(state, action, vm_id)
    role = lowest_role(permission)
    detail = f"This needs the role {role}; {identity.subject} has {identity.role or 'none'}."
    raise Forbidden(detail, role_needed=role)


def _audit_refusal(state: RequestState, action: str, vm_id: str | None) -> None:
    identity = state.identity
    caller = Caller(identity.subject, state.request_id, identity.project, client_address())
    entry = AuditEntry.forbidden(caller, datetime.now(UTC), action, _to_canonical_id(vm_id))
    try:
        state.services.store.audit.add(entry)
    except StoreUnavailable as error:
        # without the entry, the request is refused all the same
        log.error("audit entry for refused request not written", action=action, reason=error.detail)


def _to_canonical_id(vm_id: str | None) -> str | None:
    """Return the id of a VM; None without one, and for a text that is no id of a VM."""
    try:
        return canonical_id(vm_id or "")
    except VMNotFound:
        return None
