"""The caller of the current request: identity, project, address, idempotency key.

`vmapi.api.middleware.authentication` sets the identity. Before that hook, and for public endpoints,
the identity is `UNAUTHENTICATED`.
"""

import re

from flask import Request, request

from vmapi.api.request.context import current_request_id, request_state
from vmapi.api.request.fingerprint import request_fingerprint
from vmapi.api.request.headers import parse_if_match, preferred_wait
from vmapi.domain.access.caller import Caller, IdempotencyKey
from vmapi.domain.access.identity import Identity
from vmapi.domain.access.project import Scope
from vmapi.errors import MalformedRequest

MAX_ADDRESS_CHARS = 64
IDEMPOTENCY_KEY_PATTERN = re.compile(r"[ -~]{1,255}")
IDEMPOTENCY_KEY_RULE = "1 to 255 printable ASCII characters"


def client_address(current: Request | None = None) -> str:
    """Return the IP address of the client; "" for a Unix socket."""
    return ((current or request).remote_addr or "")[:MAX_ADDRESS_CHARS]


def current_identity() -> Identity:
    """Return the authenticated identity."""
    return request_state().identity


def current_user() -> str:
    """Return the subject of the identity."""
    return current_identity().subject


def current_project() -> str:
    """Return the project of the caller, which new VMs belong to."""
    return current_identity().project


def current_scope() -> Scope:
    """Return the project that the caller may read and change; None for all projects."""
    return current_identity().scope


def current_caller(body: object = None) -> Caller:
    """Return the caller with its request headers. Raises MalformedRequest.

    `body` is the loaded body, which an idempotency key is bound to; None without one.
    """
    return build_caller(parse_idempotency_key(body), preferred_wait(), parse_if_match())


def build_caller(key: IdempotencyKey | None, wait_seconds: int, if_match: frozenset[str]) -> Caller:
    """Return the caller with the options of one change."""
    return Caller(
        user=current_user(),
        request_id=current_request_id(),
        project=current_project(),
        address=client_address(),
        key=key,
        wait_seconds=wait_seconds,
        all_projects=current_scope() is None,
        if_match=if_match,
        caller_token=current_identity().caller_token,
    )


def parse_idempotency_key(body: object) -> IdempotencyKey | None:
    """Return the idempotency key with the fingerprint of the request. Raises MalformedRequest."""
    value = request.headers.get("Idempotency-Key")
    if value is None:
        return None
    if IDEMPOTENCY_KEY_PATTERN.fullmatch(value) is None:
        raise MalformedRequest(f"Idempotency-Key must be {IDEMPOTENCY_KEY_RULE}.")
    return build_idempotency_key(value, request_fingerprint(body))


def build_idempotency_key(value: str, fingerprint: str) -> IdempotencyKey:
    """Return a key of the caller, bound to the fingerprint of a change."""
    return IdempotencyKey(current_user(), value, fingerprint, current_project())


def cursor_scope() -> str:
    """Return the list and the project that a cursor of this request is valid for."""
    return f"{request.endpoint} {current_scope() or '*'}"
