"""Quotas of projects: their limits from the settings, and their usage from the inventory."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from vmapi.domain.quota import NO_RESOURCE_LIMITS, ProjectQuota, QuotaConfig
from vmapi.services.inventory.reader import InventoryReader

if TYPE_CHECKING:
    from vmapi.store.inventory.repository import InventoryRepository


class QuotaService:
    """Reads the limits and the usage of projects. `inventory` opens the database on first use."""

    def __init__(
        self,
        reader: InventoryReader,
        inventory: "Callable[[], InventoryRepository]",
        quotas: QuotaConfig,
    ) -> None:
        self._reader = reader
        self._inventory = inventory
        self._quotas = quotas

    def get(self, project: str, *, refresh: bool = False) -> tuple[ProjectQuota, float]:
        """Return the quota of a project, and the age of its usage in seconds."""
        inventory = self._inventory()
        self._reader.refresh_if_stale(inventory.age_seconds(), refresh=refresh)
        quota = ProjectQuota(inventory.get_usage(project), self._quotas.limits_for(project))
        return quota, inventory.age_seconds() or 0.0

    def ensure_usage_known(self, project: str) -> None:
        """Refresh the inventory if it is stale and the project has a limit.

        Raises BackendFailure.
        """
        if self._quotas.limits_for(project) != NO_RESOURCE_LIMITS:
            self._reader.refresh_if_stale(self._inventory().age_seconds())
