"""The settings of the request hooks, computed once for each app."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from vmapi.domain.access.roles import Permission


@dataclass(frozen=True, slots=True)
class MiddlewareConfig:
    """Configuration of the hooks of one app."""

    permissions: Mapping[str, Permission | None]
    """The required permission by endpoint; None for a public endpoint."""

    origins: tuple[str, ...]
    """Web origins that may use the API (`VMAPI_CORS_ORIGINS`)."""

    trusted_hostnames: frozenset[str]
    """Host names under which anonymous callers may reach the API."""

    allows_anonymous: bool
    """Whether a caller without a token is accepted (`VMAPI_AUTH=none`)."""

    single_process_backend: str | None
    """The backend that only one process can serve; None for a shared cloud."""

    multiprocess_logged: threading.Event = field(default_factory=threading.Event)
    """Set after the first log line about a server with several processes."""
