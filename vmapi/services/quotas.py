"""How much each project may have, as the settings say, and what it has."""

import re

from vmapi.domain.quota import KINDS, UNLIMITED, Limits, Quota, Quotas
from vmapi.services.inventory.reader import View
from vmapi.settings.parsing import PROJECT, Notation, whole
from vmapi.store.store import Store

REST = "*"

NOTATION = Notation(
    "VMAPI_QUOTAS",
    f"PROJECT:vms=N,vcpus=N,ram_mb=N;… with any of the three, {REST} for every other project",
)


def parse(text: str) -> Quotas:
    """Read the limits of each project. Raises SettingsError."""
    limits: dict[str, Limits] = {}
    for part in text.split(";") if text.strip() else ():
        project, colon, written = (each.strip() for each in part.partition(":"))
        named = project == REST or re.match(PROJECT, project)
        if not (named and colon) or project in limits:
            raise NOTATION.error(text)
        limits[project] = Limits(**NOTATION.parse(written, KINDS, lambda _, number: whole(number)))
    rest = limits.pop(REST, UNLIMITED)
    return Quotas(limits, rest)


class Usage:
    """What projects have of what they may have."""

    def __init__(self, view: View, store: Store, quotas: Quotas) -> None:
        self._view = view
        self._store = store
        self._quotas = quotas

    def of(self, project: str, *, fresh: bool = False) -> tuple[Quota, float]:
        """Return the quota of a project, and how many seconds ago that was true."""
        inventory = self._store.inventory
        self._view.renew(inventory.age(), fresh=fresh)
        return Quota(inventory.used(project), self._quotas.of(project)), inventory.age() or 0.0

    def prepare(self, project: str) -> None:
        """See that what a project has is known, where it has a limit. Raises BackendFailure."""
        if self._quotas.of(project) != UNLIMITED:
            self._view.renew(self._store.inventory.age())
