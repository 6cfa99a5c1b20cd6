"""Whose servers vmapi's account is shown."""

import time
from collections.abc import Callable, Mapping
from math import inf
from typing import TypeVar

import structlog

from vmapi.errors import Forbidden

log = structlog.get_logger("vmapi.backend")

ALL_TENANTS_RETRY_INTERVAL = 600.0
"""Seconds after which a cloud that refuses the servers of all projects is asked for them again."""

ALL_PROJECTS_VISIBLE = "every project"
OWN_PROJECT_VISIBLE = "its own project only"
ALL_TENANTS_REFUSED = "its own project only: Nova refuses all_tenants to this account"

T = TypeVar("T")


class TenantVisibility:
    """Those of its own project, or `everywhere` of all projects, where Nova's policy lets it.

    `monotonic` is in seconds.
    """

    def __init__(
        self, *, all_projects: bool, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.all_projects = all_projects
        self._monotonic = monotonic
        self._refused_at = -inf
        self._is_known = False

    def query(self, send: Callable[[Mapping[str, str]], T]) -> T:
        """Return what is answered when it is asked for all that may be seen.

        `ask` is given the filters of a list of servers.
        """
        if self._asks_all_tenants:
            try:
                answer = send({"all_tenants": "1"})
            except Forbidden as refusal:
                self._refused_at, self._is_known = self._monotonic(), True
                log.warning("VMs of other projects are not seen", reason=refusal.detail)
            else:
                self._refused_at, self._is_known = -inf, True
                return answer
        return send({})

    def sees_all_projects(self, send: Callable[[Mapping[str, str]], object]) -> bool:
        """Tell whether other projects' servers are seen; where that is not known, `ask`."""
        if self.all_projects and not self._is_known:
            self.query(send)
        return self._asks_all_tenants

    def __str__(self) -> str:
        """Say whose are seen."""
        if not self.all_projects:
            return OWN_PROJECT_VISIBLE
        if not self._is_known:
            return "not asked yet"
        return ALL_PROJECTS_VISIBLE if self._asks_all_tenants else ALL_TENANTS_REFUSED

    @property
    def _asks_all_tenants(self) -> bool:
        return (
            self.all_projects and self._monotonic() - self._refused_at >= ALL_TENANTS_RETRY_INTERVAL
        )
