"""Flavors, images, networks, the quota of a project, and the readiness of the server."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from vmapi_client.models.model import Model


@dataclass(frozen=True, kw_only=True)
class Flavor(Model):
    """A size of VMs."""

    id: str
    name: str
    vcpus: int
    ram_mb: int
    disk_gb: int


@dataclass(frozen=True, kw_only=True)
class Image(Model):
    """A boot image of VMs."""

    id: str
    name: str
    status: str
    min_disk_gb: int
    min_ram_mb: int


@dataclass(frozen=True, kw_only=True)
class Network(Model):
    """A network that assigns addresses to VMs."""

    id: str
    name: str


@dataclass(frozen=True, kw_only=True)
class QuotaUsage(Model):
    """Usage and limit of one resource. `limited_by` is `project`, `cloud` or None."""

    used: int
    limit: int | None
    limited_by: str | None


@dataclass(frozen=True, kw_only=True)
class Quota(Model):
    """The quota of a project."""

    vms: QuotaUsage
    vcpus: QuotaUsage
    ram_mb: QuotaUsage


@dataclass(frozen=True, kw_only=True)
class Health(Model):
    """The version of the API, and the time of the server."""

    status: str
    version: str
    timestamp: datetime


@dataclass(frozen=True, kw_only=True)
class Readiness(Model):
    """The readiness of a process, and `ok` or a problem code for each dependency."""

    status: str
    dependencies: Mapping[str, str] = field(hash=False)
