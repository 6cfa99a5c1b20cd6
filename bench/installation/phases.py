"""The phases of a run: each measures the cost of one request, or of one second."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Self

from bench.client import VMS, connect
from bench.installation.clients import created_vms, read_vms, run_clients, run_lifecycle
from bench.installation.postgresql import Activity
from bench.installation.processes import Installation

USES = ("api_us", "worker_us", "postgresql_us", "transactions", "wal_bytes")
"""The members of a cost by one request."""


@dataclass
class Cost:
    """The cost of a phase, by one request, or by one second of an idle installation."""

    title: str
    number: int = 0
    seconds: float = 0.0
    api_us: float = 0.0
    worker_us: float = 0.0
    postgresql_us: float = 0.0
    transactions: float = 0.0
    wal_bytes: float = 0.0
    full_scans: float = 0.0
    """In the whole phase."""
    deadlocks: float = 0.0
    activity: Activity = field(default_factory=Activity)

    def without(self, idle: Self) -> Self:
        """Return the cost of a request alone, without that of the seconds of its phase."""
        seconds = self.seconds / max(self.number, 1)
        alone = {
            name: max(getattr(self, name) - seconds * getattr(idle, name), 0.0) for name in USES
        }
        return replace(self, **alone)


@dataclass(frozen=True)
class IndexCost:
    """The cost of the first list of a process: it reads the columns of all live VMs."""

    vms: int
    seconds: float
    memory_mib: float
    """The memory that the process gains."""


def measure_idle(installation: Installation, seconds: float) -> Cost:
    """Measure an installation without requests."""

    def wait() -> int:
        time.sleep(seconds)
        return round(seconds)

    return measure(installation, "idle, a second", wait)


def measure_changes(installation: Installation, clients: int, seconds: float) -> Cost:
    """Measure clients that create, stop, start and delete VMs, each to its end."""
    return measure(
        installation,
        "a change, to its end",
        lambda: run_clients(clients, seconds, run_lifecycle, installation.url),
    )


def measure_reads(installation: Installation, clients: int, seconds: float) -> Cost:
    """Measure clients that read one VM after the other."""
    with created_vms(installation.url, clients) as paths:
        return measure(
            installation,
            "a read of one VM",
            lambda: run_clients(clients, seconds, read_vms(paths), installation.url),
        )


def measure_index(installation: Installation) -> IndexCost:
    """Send one list: the process that serves it builds its index."""
    before = installation.largest_api_mib()
    started_at = time.monotonic()
    with connect(installation.url) as client:
        total = client.call("GET", f"{VMS}?page_size=1")["total"]
    seconds = time.monotonic() - started_at
    return IndexCost(int(total), seconds, installation.largest_api_mib() - before)


def measure(installation: Installation, title: str, run: Callable[[], int]) -> Cost:
    """Run a phase, and divide its use by the number that it returns."""
    cost = Cost(title)
    with counting(installation, cost):
        cost.number = run()
    for name in USES:
        setattr(cost, name, getattr(cost, name) / max(cost.number, 1))
    return cost


@contextmanager
def counting(installation: Installation, cost: Cost) -> Iterator[None]:
    """Count the use of all processes during the block."""
    postgresql = installation.postgresql
    counts, cpu, started_at = (
        postgresql.read_counts(),
        installation.read_cpu_seconds(),
        time.monotonic(),
    )
    with postgresql.sampling() as cost.activity:
        yield
    cost.seconds = time.monotonic() - started_at
    used = installation.read_cpu_seconds()
    after = postgresql.read_counts()
    cost.api_us, cost.worker_us, cost.postgresql_us = (
        (end - start) * 1e6 for start, end in zip(cpu, used, strict=True)
    )
    cost.transactions = after.transactions - counts.transactions
    cost.wal_bytes = after.wal_bytes - counts.wal_bytes
    cost.full_scans = after.full_scans - counts.full_scans
    cost.deadlocks = after.deadlocks - counts.deadlocks
