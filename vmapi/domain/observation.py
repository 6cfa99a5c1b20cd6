"""Observations: the VMs that a request to the cloud has shown."""

from collections.abc import Sequence
from dataclasses import dataclass

from vmapi.domain.vm import VM


@dataclass(frozen=True, slots=True)
class Observation:
    """The VMs that a request to the cloud has shown, before they are saved.

    The store uses `started_at` to decide which of two observations of a VM is newer.
    """

    started_at: int
    """The time of the database's clock before the request, in microseconds since 1970."""
    vms: Sequence[VM] = ()
    gone_vm_id: str | None = None
    """The id of a VM that the cloud does not have."""
