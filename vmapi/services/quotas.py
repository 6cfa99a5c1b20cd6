"""Quotas of projects: limits from the settings and the cloud, and usage from the inventory."""

import math
from threading import Lock
from time import monotonic

from cachetools import LRUCache

from vmapi.backends.base import Backend
from vmapi.domain.quota import NO_RESOURCE_LIMITS, ProjectQuota, QuotaConfig, ResourceLimits
from vmapi.errors import BackendFailure
from vmapi.services.inventory.reader import InventoryReader
from vmapi.store.store import Store

CLOUD_LIMITS_TTL = 60.0
"""Seconds for which the limits of the cloud are cached: operators change them rarely."""

MAX_CACHED_PROJECTS = 1000
"""Projects with cached limits."""


class QuotaService:
    """Reads the limits and the usage of projects."""

    def __init__(
        self,
        backend: Backend,
        reader: InventoryReader,
        store: Store,
        quotas: QuotaConfig,
    ) -> None:
        self._backend = backend
        self._reader = reader
        self._store = store
        self._quotas = quotas
        #: Limits of the cloud by project, with the monotonic time of their read.
        self._cloud_limits: LRUCache[str, tuple[float, ResourceLimits]] = LRUCache(
            MAX_CACHED_PROJECTS
        )
        self._lock = Lock()

    def get(self, project: str, *, refresh: bool = False) -> tuple[ProjectQuota, float]:
        """Return the quota of a project, and the age of its usage in seconds."""
        inventory = self._store.inventory
        self._reader.refresh_if_stale(self._reader.age_seconds(), refresh=refresh)
        cloud_limits = self._get_cloud_limits(project, refresh=refresh)
        usage, limits = inventory.get_usage(project), self._quotas.limits_for(project)
        return ProjectQuota(usage, limits, cloud_limits), self._reader.age_seconds() or 0.0

    def _get_cloud_limits(self, project: str, *, refresh: bool) -> ResourceLimits:
        """Return the limits of the cloud; those of an earlier read while the cloud fails.

        Raises BackendFailure if no read ever succeeded.
        """
        with self._lock:
            read_at, known = self._cloud_limits.get(project, (-math.inf, None))
        if known is not None and not refresh and monotonic() - read_at < CLOUD_LIMITS_TTL:
            return known
        try:
            limits = self._backend.get_cloud_limits(project)
        except BackendFailure:
            if known is None or refresh:
                raise
            return known
        with self._lock:
            self._cloud_limits[project] = (monotonic(), limits)
        return limits

    def ensure_usage_known(self, project: str) -> None:
        """Refresh the inventory if it is stale and the project has a limit.

        Raises BackendFailure.
        """
        if self._quotas.limits_for(project) != NO_RESOURCE_LIMITS:
            self._reader.refresh_if_stale(self._reader.age_seconds())
