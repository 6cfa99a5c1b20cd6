"""The quota of this cloud's one project."""

from collections.abc import Iterable
from dataclasses import dataclass, fields

from vmapi.domain.catalog import Flavor
from vmapi.errors import QuotaExceeded
from vmapi.settings.parsing import KeyValueFormat, parse_int

CLOUD_QUOTA_FORMAT = KeyValueFormat(
    "VMAPI_MEMORY_LIMITS", "vms=N,vcpus=N,ram_mb=N, any of them, whole numbers"
)
NOVA_RESOURCE_NAMES = ("instances", "cores", "ram")


@dataclass(frozen=True, slots=True)
class CloudQuota:
    """How much there may be at once; `ram_mb` is in MB."""

    vms: int = 100
    vcpus: int = 200
    ram_mb: int = 409_600

    def __str__(self) -> str:
        return f"{self.vms} vms, {self.vcpus} vcpus, {self.ram_mb} MB of RAM"

    @classmethod
    def parse(cls, text: str) -> "CloudQuota":
        """Read the limits that differ from the defaults. Raises SettingsError."""
        names = [limit.name for limit in fields(cls)]
        return cls(**CLOUD_QUOTA_FORMAT.parse(text, names, lambda _, written: parse_int(written)))

    def check(self, used: Iterable[Flavor], requested: Flavor) -> None:
        """Raise QuotaExceeded, in Nova's words, if another VM of this flavor is too much."""
        taken = list(used)
        rows = zip(
            NOVA_RESOURCE_NAMES,
            (1, requested.vcpus, requested.ram_mb),
            (len(taken), sum(f.vcpus for f in taken), sum(f.ram_mb for f in taken)),
            (self.vms, self.vcpus, self.ram_mb),
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
