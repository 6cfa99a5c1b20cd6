"""State of the current request, and the services that serve it.

`vmapi.api.middleware` creates the state before any other hook runs and fills it; later hooks, views
and responses read it. A view never writes it, except for the VM id of the access log.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import cast

from flask import current_app, g

from vmapi.api.request.versions import current_base_path
from vmapi.domain.access.identity import UNAUTHENTICATED, Identity
from vmapi.domain.access.roles import Permission
from vmapi.services.access.rate_limits import RateLimitStatus
from vmapi.services.container import Services
from vmapi.telemetry.tracing.tracer import RequestSpan


@dataclass(slots=True)
class RequestState:
    """State that the hooks of one request share, on `flask.g`."""

    request_id: str
    """The client's `X-Request-ID`, or a generated id."""

    started_at: float
    """`time.perf_counter()` at the first hook."""

    services: Services
    """The services of the app."""

    identity: Identity = UNAUTHENTICATED
    """The authenticated principal."""

    authenticate: partial[Identity] | None = None
    """Validates the credentials of this request, also later; None if the endpoint is public."""

    required_permission: Permission | None = None
    """The permission of the endpoint; None if the endpoint is public or unknown."""

    rate_limits: dict[str, RateLimitStatus] = field(default_factory=dict)
    """The rate limits that counted this request, by name."""

    span: RequestSpan | None = None
    """The span of the request; None if it is not traced."""

    logged_vm_id: str | None = None
    """The VM that the access log names if the URL does not."""

    log_members: dict[str, object] = field(default_factory=dict)
    """Further members of the line in the access log."""


def request_state() -> RequestState:
    """Return the state of the current request."""
    return cast(RequestState, g.request_state)


def current_request_id() -> str:
    """Return the id of the current request."""
    return request_state().request_id


def set_logged_vm(vm_id: str | None) -> None:
    """Set the VM of the access log line, for a URL without a VM id."""
    request_state().logged_vm_id = vm_id


def current_services() -> Services:
    """Return the services of the current app."""
    return cast(Services, current_app.extensions["vmapi"])


def vm_url(vm_id: str) -> str:
    """Return the URL path of a VM."""
    return f"{current_base_path()}/vms/{vm_id}"


def operation_url(operation_id: str) -> str:
    """Return the URL path of an operation."""
    return f"{current_base_path()}/operations/{operation_id}"
