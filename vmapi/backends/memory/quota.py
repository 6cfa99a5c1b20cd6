"""The quota of this cloud's one project."""

from collections.abc import Iterable

from vmapi.domain.catalog import Flavor
from vmapi.errors import QuotaExceeded
from vmapi.settings.memory import MemoryLimits

NOVA_RESOURCE_NAMES = ("instances", "cores", "ram")


class CloudQuota:
    """Enforces the limits of the cloud's one project."""

    def __init__(self, limits: MemoryLimits) -> None:
        self._limits = limits

    def check(self, used: Iterable[Flavor], requested: Flavor) -> None:
        """Raise QuotaExceeded, in Nova's words, if another VM of this flavor is too much."""
        taken = list(used)
        rows = zip(
            NOVA_RESOURCE_NAMES,
            (1, requested.vcpus, requested.ram_mb),
            (len(taken), sum(f.vcpus for f in taken), sum(f.ram_mb for f in taken)),
            (self._limits.vms, self._limits.vcpus, self._limits.ram_mb),
            strict=True,
        )
        over = [row for row in rows if row[1] + row[2] > row[3]]
        if over:
            columns = zip(*over, strict=True)
            words, asked, have, limits = (", ".join(map(str, column)) for column in columns)
            raise QuotaExceeded(
                f"Quota exceeded for {words}: Requested {asked}, "
                f"but already used {have} of {limits} {words}"
            )
