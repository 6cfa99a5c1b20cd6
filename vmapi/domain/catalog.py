"""The catalog of a cloud: flavors, images and networks."""

from dataclasses import dataclass

Projects = frozenset[str]
"""Ids of projects that may use an item of the catalog."""


@dataclass(frozen=True, slots=True)
class Flavor:
    """A size of a VM."""

    id: str
    name: str
    vcpus: int
    ram_mb: int
    disk_gb: int
    #: None for all projects
    projects: Projects | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """A disk image that a VM boots from; usable while its status is `active`."""

    id: str
    name: str
    status: str
    min_disk_gb: int
    min_ram_mb: int
    #: None for all projects
    projects: Projects | None = None


@dataclass(frozen=True, slots=True)
class Network:
    """A network that a VM gets its address from."""

    id: str
    name: str
    #: used for a VM if the client names no network
    default: bool = False
    #: leads outside the cloud; never chosen as the only network
    external: bool = False
    #: None for all projects
    projects: Projects | None = None
