"""Quotas: limits on the resources that the VMs of a project use together."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum


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


class LimitSource(StrEnum):
    """The quota that a limit belongs to."""

    PROJECT = "project"
    CLOUD = "cloud"


@dataclass(frozen=True, slots=True)
class ProjectQuota:
    """The usage of a project, its limits in vmapi, and the limits of the cloud's own quota."""

    used: ResourceUsage
    limits: ResourceLimits
    cloud_limits: ResourceLimits

    def get_lower_limit(self, kind: str) -> tuple[int | None, LimitSource | None]:
        """Return the lower limit on a kind of resource, and its source; None for no limit."""
        candidates: list[tuple[int, LimitSource]] = [
            (limit, source)
            for source, limits in (
                (LimitSource.PROJECT, self.limits),
                (LimitSource.CLOUD, self.cloud_limits),
            )
            if (limit := getattr(limits, kind)) is not None
        ]
        return min(candidates, key=lambda item: item[0], default=(None, None))
