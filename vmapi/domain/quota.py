"""Quotas: limits on the resources that the VMs of a project use together."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields


@dataclass(frozen=True, slots=True)
class ResourceUsage:
    """The resources that VMs use together."""

    vms: int = 0
    vcpus: int = 0
    ram_mb: int = 0


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """The most that a project may use of each resource; None for no limit."""

    vms: int | None = None
    vcpus: int | None = None
    ram_mb: int | None = None


RESOURCE_KINDS = tuple(kind.name for kind in fields(ResourceLimits))
NO_RESOURCE_LIMITS = ResourceLimits()


@dataclass(frozen=True, slots=True)
class QuotaConfig:
    """The limits of named projects, and the default for every other project."""

    by_project: Mapping[str, ResourceLimits] = field(default_factory=dict)
    default: ResourceLimits = NO_RESOURCE_LIMITS

    def limits_for(self, project: str) -> ResourceLimits:
        """Return the limits of a project."""
        return self.by_project.get(project, self.default)


NO_QUOTAS = QuotaConfig()


@dataclass(frozen=True, slots=True)
class ProjectQuota:
    """The usage and the limits of a project."""

    used: ResourceUsage
    limits: ResourceLimits
