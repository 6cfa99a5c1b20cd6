"""The visible servers: those of the service project, or of all projects.

Nova API "List Servers", parameter `all_tenants`: the policy of Nova allows it to admins unless the
operator has configured it otherwise. The server queries and the project policy send their queries
through `TenantVisibility.query`.
"""

import time
from collections.abc import Callable, Mapping
from math import inf
from typing import TypeVar

import structlog

from vmapi.errors import Forbidden

log = structlog.get_logger("vmapi.backend")

ALL_TENANTS_RETRY_INTERVAL = 600.0
"""Seconds after a refusal of `all_tenants` in which it is not requested: policies rarely change."""

ALL_PROJECTS_VISIBLE = "every project"
OWN_PROJECT_VISIBLE = "its own project only"
ALL_TENANTS_REFUSED = "its own project only: Nova refuses all_tenants to this account"
VISIBILITY_UNKNOWN = "not asked yet"

T = TypeVar("T")


class TenantVisibility:
    """Requests the servers of all projects if configured so and Nova allows it."""

    def __init__(
        self, *, all_projects: bool, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.all_projects = all_projects
        self._monotonic = monotonic
        self._refused_at = -inf
        self._is_known = False

    def query(self, send: Callable[[Mapping[str, str]], T]) -> T:
        """Call `send` with the query parameters of the widest scope that Nova allows.

        Raises Forbidden when Nova refuses the scope of the service project too.
        """
        if self._requests_all_tenants:
            try:
                result = send({"all_tenants": "1"})
            except Forbidden as error:
                self._refused_at, self._is_known = self._monotonic(), True
                log.warning("VMs of other projects are not visible", reason=error.detail)
            else:
                self._refused_at, self._is_known = -inf, True
                return result
        return send({})

    def sees_all_projects(self, send: Callable[[Mapping[str, str]], object]) -> bool:
        """Return whether the servers of other projects are visible.

        Calls `send` if that is unknown.
        """
        if self.all_projects and not self._is_known:
            self.query(send)
        return self._requests_all_tenants

    def __str__(self) -> str:
        """Describe the visible projects for the operator."""
        if not self.all_projects:
            return OWN_PROJECT_VISIBLE
        if not self._is_known:
            return VISIBILITY_UNKNOWN
        return ALL_PROJECTS_VISIBLE if self._requests_all_tenants else ALL_TENANTS_REFUSED

    @property
    def _requests_all_tenants(self) -> bool:
        waited = self._monotonic() - self._refused_at >= ALL_TENANTS_RETRY_INTERVAL
        return self.all_projects and waited
