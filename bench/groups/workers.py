"""Aim 7: two workers serve almost twice the requests of one, on two cores.

The load generator uses the cores, too. So the row is computed from CPU time: the requests that the
busiest worker allows when every worker has a core.
"""

import statistics
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack

from bench.aims import Limit, Result, Row
from bench.client import VMS, connect
from bench.load import Load, compute_medians, send_load
from bench.options import RunOptions
from bench.processes import read_cpu_seconds
from bench.servers import Server, run_on_openstack

MIN_RATIO = 1.8
WORKERS = (1, 2)
CONNECTIONS = 32
"""Enough that chance does not give one worker many more than the other."""


Turns = dict[int, list[tuple[Load, float]]]
"""The loads by number of workers, with the share of the busiest worker in the CPU time."""


def measure_workers(options: RunOptions) -> Iterator[Result]:
    """Measure one VM with one worker and with two."""
    scale = options.scale
    with ExitStack() as stack:
        servers = {workers: stack.enter_context(run(options, workers)) for workers in WORKERS}
        paths = {workers: find_vm(server) for workers, server in servers.items()}
        turns: Turns = {workers: [] for workers in WORKERS}
        for _ in range(scale.rounds):
            for workers, server in servers.items():
                turns[workers].append(send_and_compare(server, paths[workers], scale.seconds))
    yield compare_workers(turns)


def run(options: RunOptions, workers: int) -> AbstractContextManager[Server]:
    """Run a server with a number of workers."""
    settings = {"VMAPI_WORKERS": str(workers)}
    return run_on_openstack(
        options, "--delays", "none", "--varied", vms=options.scale.vms, settings=settings
    )


def compare_workers(turns: Turns) -> Row:
    """Return the requests that two workers allow, relative to one."""
    single, paired = (compute_medians([load for load, _ in turns[count]]) for count in WORKERS)
    share = statistics.median(share for _, share in turns[2])
    return Row(
        "7",
        "one VM, two workers with a core each: requests a second, relative to one worker",
        single.cpu_us / (paired.cpu_us * share),
        "×",
        Limit.at_least(MIN_RATIO),
        f"one {single}; two {paired}, of which the busier worker {share:.0%}",
    )


def find_vm(server: Server) -> str:
    """Return the path of a VM."""
    with connect(server.url) as client:
        return f"{VMS}/{client.call('GET', f'{VMS}?page_size=1')['items'][0]['id']}"


def send_and_compare(server: Server, path: str, seconds: float) -> tuple[Load, float]:
    """Send a load; return it with the share of the busiest worker in the CPU time."""
    pids = server.worker_pids
    before = [read_cpu_seconds(pid) for pid in pids]
    load = send_load(server, path, seconds, connections=CONNECTIONS)
    used = [read_cpu_seconds(pid) - start for pid, start in zip(pids, before, strict=True)]
    return load, max(used) / sum(used)
