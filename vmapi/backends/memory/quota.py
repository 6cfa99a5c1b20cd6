"""The quota of the in-memory cloud."""

from dataclasses import asdict

from vmapi.domain.catalog import Flavor
from vmapi.domain.quota import ResourceLimits, ResourceUsage
from vmapi.errors import QuotaExceeded
from vmapi.settings.memory import MemoryLimits

NOVA_RESOURCE_NAMES = ("instances", "cores", "ram")


class CloudQuota:
    """Enforces the limits of the cloud's one project."""

    def __init__(self, limits: MemoryLimits) -> None:
        self._limits = limits

    @property
    def limits(self) -> ResourceLimits:
        """The limits, which all projects share."""
        return ResourceLimits(**asdict(self._limits))

    def check(self, used: ResourceUsage, requested: Flavor) -> None:
        """Check one more VM of the requested flavor.

        Raises QuotaExceeded, with Nova's message, when it would exceed a limit.
        """
        rows = zip(
            NOVA_RESOURCE_NAMES,
            (1, requested.vcpus, requested.ram_mb),
            (used.vms, used.vcpus, used.ram_mb),
            (self._limits.vms, self._limits.vcpus, self._limits.ram_mb),
            strict=True,
        )
        exceeded = [row for row in rows if row[1] + row[2] > row[3]]
        if exceeded:
            columns = zip(*exceeded, strict=True)
            names, amounts, usage, limits = (", ".join(map(str, column)) for column in columns)
            raise QuotaExceeded(
                f"Quota exceeded for {names}: Requested {amounts}, "
                f"but already used {usage} of {limits} {names}"
            )
