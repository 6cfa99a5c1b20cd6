"""Aim 9: the time until the first response, and the memory of a worker."""

import dataclasses
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.aims import Limit, Result, Row
from bench.client import VMS, connect
from bench.environments import ensure_runtime_environment
from bench.options import RunOptions
from bench.processes import read_memory_mib, read_tree_cpu_seconds
from bench.servers import Server, build_cloud_settings, run_vmapi
from bench.standin import fake_openstack

MEMORY, OPENSTACK = "memory cloud", "OpenStack on SQLite"
MAX_START_SECONDS = {MEMORY: 0.6}
MAX_MEMORY_MIB = {MEMORY: 60.0, OPENSTACK: 110.0}


@dataclass(frozen=True)
class Start:
    """One start of gunicorn with a worker."""

    seconds: float
    """From the start of gunicorn to the first response of /livez."""
    cpu_seconds: float
    memory_mib: float
    """Memory of the worker then."""
    used_memory_mib: float
    """Memory of the worker after a create and a list."""


def measure_startup(options: RunOptions) -> Iterator[Result]:
    """Start servers, and stop them after a few requests."""
    if options.scale.has_runtime_environment:
        python = str(ensure_runtime_environment() / "python")
        options = dataclasses.replace(options, python=python)
    with fake_openstack() as url:
        clouds = {
            MEMORY: {"VMAPI_BACKEND": "memory"},
            OPENSTACK: build_cloud_settings(url),
        }
        for title, settings in clouds.items():
            # the first start reads files from the disk
            starts = [start(options, settings) for _ in range(options.scale.starts + 1)][1:]
            yield from summarize(title, starts)


def start(options: RunOptions, settings: Mapping[str, str]) -> Start:
    """Start a server, measure it, and stop it."""
    started_at = time.perf_counter()
    with run_vmapi(options, settings) as server:
        seconds = time.perf_counter() - started_at
        cpu_seconds = read_tree_cpu_seconds(server.pid)
        (pid,) = server.worker_pids
        memory = read_memory_mib(pid)
        use(server)
        return Start(seconds, cpu_seconds, memory, read_memory_mib(pid))


def use(server: Server) -> None:
    """Create and list a VM, which opens the database and the connections to the cloud."""
    with connect(server.url) as client:
        body = {"name": f"bench-{server.pid}", "flavor": "m1.tiny", "image": "cirros"}
        client.call("POST", VMS, body)
        client.call("GET", VMS)


def summarize(title: str, starts: list[Start]) -> Iterator[Row]:
    """Return the medians of several starts."""
    seconds, cpu, memory, used = (
        statistics.median(getattr(start, name) for start in starts)
        for name in ("seconds", "cpu_seconds", "memory_mib", "used_memory_mib")
    )
    limit = Limit.at_most(MAX_START_SECONDS[title]) if title in MAX_START_SECONDS else None
    subject = f"start, {title}: until the first response"
    yield Row("9", subject, seconds, "s", limit, f"{cpu:.2f} s of CPU, {len(starts)} starts")
    limit = Limit.at_most(MAX_MEMORY_MIB[title])
    detail = f"{memory:.1f} MiB before the first request"
    yield Row(
        "9", f"memory of a worker, {title}: after a create and a list", used, "MiB", limit, detail
    )
