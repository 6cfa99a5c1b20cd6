"""Quotas: how much of what VMs take a project may have at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """What VMs take together; `ram_mb` is in MB."""

    vms: int = 0
    vcpus: int = 0
    ram_mb: int = 0


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """The most that a project may have of each; None for no limit."""

    vms: int | None = None
    vcpus: int | None = None
    ram_mb: int | None = None


RESOURCE_KINDS = tuple(kind.name for kind in fields(ResourceLimits))
NO_RESOURCE_LIMITS = ResourceLimits()


@dataclass(frozen=True, slots=True)
class QuotaConfig:
    """The limits of the projects that are named, and those of every other."""

    by_project: Mapping[str, ResourceLimits] = field(default_factory=dict)
    default: ResourceLimits = NO_RESOURCE_LIMITS

    def limits_for(self, project: str) -> ResourceLimits:
        """Return the limits of a project."""
        return self.by_project.get(project, self.default)


NO_QUOTAS = QuotaConfig()


@dataclass(frozen=True, slots=True)
class ProjectQuota:
    """What a project has, and the most that it may have."""

    used: ResourceUsage
    limits: ResourceLimits
