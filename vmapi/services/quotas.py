"""How much each project may have, as the settings say, and what it has."""

from vmapi.domain.quota import NO_RESOURCE_LIMITS, ProjectQuota, QuotaConfig
from vmapi.services.inventory.reader import InventoryReader
from vmapi.store.store import Store


class QuotaService:
    """What projects have of what they may have."""

    def __init__(self, reader: InventoryReader, store: Store, quotas: QuotaConfig) -> None:
        self._reader = reader
        self._store = store
        self._quotas = quotas

    def get(self, project: str, *, refresh: bool = False) -> tuple[ProjectQuota, float]:
        """Return the quota of a project, and how many seconds ago that was true."""
        inventory = self._store.inventory
        self._reader.refresh_if_stale(inventory.age_seconds(), refresh=refresh)
        return ProjectQuota(
            inventory.get_usage(project), self._quotas.limits_for(project)
        ), inventory.age_seconds() or 0.0

    def ensure_usage_known(self, project: str) -> None:
        """See that what a project has is known, where it has a limit. Raises BackendFailure."""
        if self._quotas.limits_for(project) != NO_RESOURCE_LIMITS:
            self._reader.refresh_if_stale(self._store.inventory.age_seconds())
