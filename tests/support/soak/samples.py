"""Samples of a running vmapi: memory, threads, descriptors, connections, rows and latencies."""

import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from sqlalchemy import Engine, func, select
from sqlalchemy.exc import OperationalError

from tests.support.processes import ServerProcess
from vmapi.store.tables import metadata

KIB_PER_MIB = 1024
CHANGE_METHODS = ("POST", "DELETE")


@dataclass(frozen=True)
class Sample:
    """The state of vmapi at a time; `seconds` since the start of the soak.

    Memory is the resident set of the oldest worker, in MiB. Latencies are in
    milliseconds, of the responses since the last sample; zero without one.
    """

    seconds: float
    fault: str
    memory_mib: float
    threads: int
    descriptors: int
    connections: int
    rows: int
    vms: int
    """The VMs that clients have requested so far."""
    responses: int
    read_median_ms: float
    read_p99_ms: float
    change_median_ms: float


class ResponseTimes:
    """Collects the seconds of responses by method, until a sample takes them. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[bool, list[float]] = defaultdict(list)

    def record(self, method: str, seconds: float) -> None:
        """Record a response."""
        with self._lock:
            self._seconds[method in CHANGE_METHODS].append(seconds)

    def take(self) -> tuple[list[float], list[float]]:
        """Return the seconds of reads and of changes since the last call."""
        with self._lock:
            taken, self._seconds = self._seconds, defaultdict(list)
        return taken[False], taken[True]


class Sampler:
    """Takes samples of a server and its database."""

    def __init__(
        self,
        server: ServerProcess,
        database: Engine,
        times: ResponseTimes,
        read_load: Callable[[], tuple[str, int]],
    ) -> None:
        """`read_load` returns the present fault and the number of VMs requested so far."""
        self._server, self._database = server, database
        self._times, self._read_load = times, read_load
        self._started_at = time.monotonic()
        self.samples: list[Sample] = []

    def sample(self) -> None:
        """Take a sample."""
        pids = sorted(self._server.child_pids())
        links = [link for pid in pids for link in read_descriptors(pid)]
        fault, vms = self._read_load()
        reads, changes = self._times.take()
        self.samples.append(
            Sample(
                seconds=time.monotonic() - self._started_at,
                fault=fault,
                memory_mib=read_memory(pids[0]) / KIB_PER_MIB,
                threads=sum(map(count_threads, pids)),
                descriptors=len(links),
                connections=sum(link.startswith("socket:") for link in links),
                rows=self._count_rows(),
                vms=vms,
                responses=len(reads) + len(changes),
                read_median_ms=_percentile(reads, 50),
                read_p99_ms=_percentile(reads, 99),
                change_median_ms=_percentile(changes, 50),
            )
        )

    def _count_rows(self) -> int:
        """Count the rows of all tables; while the database restarts, return the last number."""
        counts = [select(func.count()).select_from(table) for table in metadata.tables.values()]
        try:
            with self._database.connect() as connection:
                return sum(connection.execute(count).scalar_one() for count in counts)
        except OperationalError:
            return self.samples[-1].rows if self.samples else 0


def read_memory(pid: int) -> int:
    """Return the resident set of a process, in KiB; zero if it has ended."""
    with suppress(OSError):
        return int(_read_number(Path(f"/proc/{pid}/smaps_rollup"), "Rss"))
    return 0


def count_threads(pid: int) -> int:
    """Return the number of threads of a process; zero if it has ended."""
    with suppress(OSError):
        return int(_read_number(Path(f"/proc/{pid}/status"), "Threads"))
    return 0


def read_descriptors(pid: int) -> list[str]:
    """Return the targets of the open file descriptors of a process."""
    links = []
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                links.append(str(descriptor.readlink()))
    return links


def _read_number(path: Path, name: str) -> str:
    match = re.search(rf"^{name}:\s+(\d+)", path.read_text(), re.MULTILINE)
    assert match is not None, path
    return match[1]


def _percentile(seconds: list[float], percent: int) -> float:
    """Return a percentile in milliseconds; zero without a value."""
    if len(seconds) < 2:
        return 1000 * sum(seconds)
    return 1000 * (
        median(seconds) if percent == 50 else quantiles(seconds, n=100, method="inclusive")[98]
    )
