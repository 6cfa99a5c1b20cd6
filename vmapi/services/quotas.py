"""How much each project may have, as the settings say, and what it has."""

import re

from vmapi.domain.quota import (
    NO_RESOURCE_LIMITS,
    RESOURCE_KINDS,
    ProjectQuota,
    QuotaConfig,
    ResourceLimits,
)
from vmapi.services.inventory.reader import InventoryReader
from vmapi.settings.parsing import PROJECT_NAME_PATTERN, KeyValueFormat, parse_int
from vmapi.store.store import Store

OTHER_PROJECTS = "*"

QUOTAS_FORMAT = KeyValueFormat(
    "VMAPI_QUOTAS",
    "PROJECT:vms=N,vcpus=N,ram_mb=N;… with any of the three, "
    f"{OTHER_PROJECTS} for every other project",
)


def parse_quotas(text: str) -> QuotaConfig:
    """Read the limits of each project. Raises SettingsError."""
    limits: dict[str, ResourceLimits] = {}
    for part in text.split(";") if text.strip() else ():
        project, colon, written = (each.strip() for each in part.partition(":"))
        named = project == OTHER_PROJECTS or re.match(PROJECT_NAME_PATTERN, project)
        if not (named and colon) or project in limits:
            raise QUOTAS_FORMAT.error(text)
        limits[project] = ResourceLimits(
            **QUOTAS_FORMAT.parse(written, RESOURCE_KINDS, lambda _, number: parse_int(number))
        )
    rest = limits.pop(OTHER_PROJECTS, NO_RESOURCE_LIMITS)
    return QuotaConfig(limits, rest)


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
