"""Quotas: how much of what VMs take a project may have at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields


@dataclass(frozen=True, slots=True)
class Amounts:
    """What VMs take together; `ram_mb` is in MB."""

    vms: int = 0
    vcpus: int = 0
    ram_mb: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a project may have of each; None for no limit."""

    vms: int | None = None
    vcpus: int | None = None
    ram_mb: int | None = None


KINDS = tuple(kind.name for kind in fields(Limits))
UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Quotas:
    """The limits of the projects that are named, and those of every other."""

    named: Mapping[str, Limits] = field(default_factory=dict)
    rest: Limits = UNLIMITED

    def of(self, project: str) -> Limits:
        """Return the limits of a project."""
        return self.named.get(project, self.rest)


NO_QUOTAS = Quotas()


@dataclass(frozen=True, slots=True)
class Quota:
    """What a project has, and the most that it may have."""

    used: Amounts
    limits: Limits
