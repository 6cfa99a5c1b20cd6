"""What a request carries through its handlers: its id, its caller, the services; its log line."""

import hashlib
import re
import time
import uuid
from typing import cast

import structlog
from flask import Flask, Response, current_app, g, request

from vmapi.api.request.body import read_body
from vmapi.api.request.caller import (
    client_address,
    current_identity,
    current_project,
    current_scope,
    current_user,
    set_identity,
)
from vmapi.api.request.conditional import parse_if_match
from vmapi.domain.caller import Caller, IdempotencyKey
from vmapi.domain.identity import UNAUTHENTICATED
from vmapi.errors import MalformedRequest
from vmapi.services.container import Services

REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
PREFER_WAIT_PATTERN = re.compile(r"\s*wait\s*=\s*\"?(\d+)\"?\s*(;.*)?", re.ASCII | re.IGNORECASE)
MAX_WAIT_SECONDS = 60
IDEMPOTENCY_KEY_PATTERN = re.compile(r"[ -~]{1,255}")

access_log = structlog.get_logger("vmapi.access")


def current_services() -> Services:
    """Return the services of the app that this request came to."""
    return cast(Services, current_app.extensions["vmapi"])


def current_request_id() -> str:
    """Return this request's id."""
    return cast(str, g.request_id)


def current_caller() -> Caller:
    """Return who is asking, and how. Raises MalformedRequest for a header that is none."""
    return Caller(
        user=current_user(),
        request_id=current_request_id(),
        project=current_project(),
        address=client_address(),
        key=parse_idempotency_key(),
        wait_seconds=preferred_wait(),
        all_projects=current_scope() is None,
        if_match=parse_if_match(),
        caller_token=current_identity().caller_token,
    )


def preferred_wait() -> int:
    """Return for how many seconds the client would have the answer held back (RFC 7240)."""
    for preference in request.headers.get("Prefer", "").split(","):
        if found := PREFER_WAIT_PATTERN.fullmatch(preference):
            # Python reads no more than some thousand digits; three are beyond the most
            return min(int(found[1].lstrip("0")[:3] or 0), MAX_WAIT_SECONDS)
    return 0


def no_cache() -> bool:
    """Tell whether the client wants the cloud to be asked (RFC 9111, section 5.2.1.4)."""
    return bool(request.cache_control.no_cache)


def preference_applied(*, settled: bool) -> dict[str, str]:
    """Return the header which says that an answer was held back as the client preferred.

    One that is not settled, and was not held back for so long, found no place to wait.
    """
    seconds = preferred_wait()
    heeded = settled or time.perf_counter() - g.begun >= seconds
    return {"Preference-Applied": f"wait={seconds}"} if seconds and heeded else {}


def parse_idempotency_key() -> IdempotencyKey | None:
    """Return the key of this request. Raises MalformedRequest."""
    sent = request.headers.get("Idempotency-Key")
    if sent is None:
        return None
    if IDEMPOTENCY_KEY_PATTERN.fullmatch(sent) is None:
        raise MalformedRequest("Idempotency-Key must be 1 to 255 printable ASCII characters.")
    asked = f"{request.method} {request.full_path}\n".encode() + read_body(request)
    return IdempotencyKey(
        current_user(), sent, hashlib.sha256(asked).hexdigest(), current_project()
    )


def set_logged_vm(vm_id: str | None) -> None:
    """Name the VM that this request's line in the log is about, where the URL does not."""
    g.vm_id = vm_id


def vm_url(vm_id: str) -> str:
    """Return the path of a VM."""
    return f"{current_services().base_path}/vms/{vm_id}"


def operation_url(operation_id: str) -> str:
    """Return the path of an operation."""
    return f"{current_services().base_path}/operations/{operation_id}"


def init_app(app: Flask) -> None:
    """Give each request its id and its line in the log."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    g.begun = time.perf_counter()
    sent = request.headers.get("X-Request-ID", "")
    g.request_id = sent if REQUEST_ID_PATTERN.fullmatch(sent) else f"req-{uuid.uuid4()}"
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)
    set_identity(UNAUTHENTICATED)


def _end(response: Response) -> Response:
    response.headers["X-Request-ID"] = current_request_id()
    access_log.info(
        "request",
        endpoint=f"{request.method} {request.path}",
        vm_id=g.get("vm_id") or (request.view_args or {}).get("vm_id"),
        status=response.status_code,
        duration_ms=round((time.perf_counter() - g.begun) * 1000, 3),
    )
    return response
