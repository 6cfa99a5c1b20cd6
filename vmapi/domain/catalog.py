"""What a cloud offers to build VMs from."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flavor:
    """A size of VM."""

    id: str
    name: str
    vcpus: int
    ram_mb: int
    disk_gb: int


@dataclass(frozen=True, slots=True)
class Image:
    """What a VM boots from; only one whose status is `active` can be used.

    With a `project` it is for the VMs of that one alone.
    """

    id: str
    name: str
    status: str
    min_disk_gb: int
    min_ram_mb: int
    project: str | None = None


@dataclass(frozen=True, slots=True)
class Network:
    """What a VM gets its address from; a `default` one is taken when none is named.

    An `external` one is never the only one there is: it leads outside. With a `project` it is for
    the VMs of that one alone.
    """

    id: str
    name: str
    default: bool = False
    external: bool = False
    project: str | None = None
