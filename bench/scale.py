"""The size of a run: the complete one, and the short one for CI."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Durations in seconds, numbers of VMs, and numbers of repetitions."""

    rounds: int
    """Each read is measured this often, in turns with the others; the median counts."""
    seconds: float
    """The duration of one load."""
    growth_rounds: int
    growth_seconds: float
    vms: int
    """VMs of a server, if a row names no other number."""
    list_sizes: tuple[int, ...]
    small_inventory: int
    large_inventories: tuple[int, ...]
    page_depth: int
    """The number of the page that is measured besides the first."""
    few_vms: int
    changes: int
    """How often a VM is created, started and stopped."""
    bulk_vms: int
    streams: int
    synced_vms: int
    sync_warmup: float
    sync_seconds: float
    starts: int
    has_runtime_environment: bool
    """Whether starts are measured without the packages for development."""


COMPLETE = Scale(
    rounds=3,
    seconds=1.5,
    growth_rounds=3,
    growth_seconds=0.15,
    vms=1000,
    list_sizes=(100, 1000),
    small_inventory=1000,
    large_inventories=(10_000, 100_000),
    page_depth=50,
    few_vms=10,
    changes=100,
    bulk_vms=1000,
    streams=1000,
    synced_vms=10_000,
    sync_warmup=5.0,
    sync_seconds=30.0,
    starts=10,
    has_runtime_environment=True,
)
SHORT = Scale(
    rounds=1,
    seconds=0.1,
    growth_rounds=1,
    growth_seconds=0.02,
    vms=120,
    list_sizes=(100, 1000),
    small_inventory=200,
    large_inventories=(400,),
    page_depth=2,
    few_vms=2,
    changes=2,
    bulk_vms=20,
    streams=50,
    synced_vms=2000,
    sync_warmup=0.1,
    sync_seconds=2.0,
    starts=1,
    has_runtime_environment=False,
)
