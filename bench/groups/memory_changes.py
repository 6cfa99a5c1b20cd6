"""Aim 5: changes on the memory cloud take the same time in a cloud of any size."""

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack

from bench.aims import Limit, Result, Row
from bench.client import VMS, JsonClient, connect
from bench.options import RunOptions
from bench.processes import read_tree_cpu_seconds
from bench.servers import run_on_memory

MAX_GROWTH = 1.3
MAX_MS = 5.0
CHANGES = ("create", "start", "stop")
CREATE_BODY = {"flavor": "m1.tiny", "image": "cirros"}

Times = dict[tuple[str, int], list[float]]
"""Wall times in milliseconds, by change and size of the cloud."""


def measure_memory_changes(options: RunOptions) -> Iterator[Result]:
    """Create, start and stop VMs in a small and in a large cloud, in turns."""
    few, many = options.scale.few_vms, options.scale.large_inventories[0]
    times: Times = defaultdict(list)
    with ExitStack() as stack:
        servers = {vms: stack.enter_context(run_on_memory(options, vms)) for vms in (few, many)}
        clients = {vms: stack.enter_context(connect(server.url)) for vms, server in servers.items()}
        cpu_seconds = dict.fromkeys(servers, 0.0)
        for number in range(options.scale.changes):
            for vms, server in servers.items():
                used = read_tree_cpu_seconds(server.pid)
                run_life(clients[vms], f"bench-{number}", vms, times)
                cpu_seconds[vms] += read_tree_cpu_seconds(server.pid) - used
    for change in CHANGES:
        small, large = (statistics.median(times[change, vms]) for vms in (few, many))
        title = f"{change}, memory cloud with {many:,} VMs"
        detail = f"{large:.2f} ms, {few} VMs: {small:.2f} ms"
        growth = large / small
        yield Row(
            "5",
            f"{title}: p50, relative to {few} VMs",
            growth,
            "×",
            Limit.at_most(MAX_GROWTH),
            detail,
        )
        yield Row("5", f"{title}: p50", large, "ms", Limit.at_most(MAX_MS))
    ratio = cpu_seconds[many] / cpu_seconds[few]
    subject = f"CPU time of all these changes, relative to {few} VMs"
    yield Row("5", subject, ratio, "×", Limit.at_most(MAX_GROWTH))


def run_life(client: JsonClient, name: str, vms: int, times: Times) -> None:
    """Create, start and stop one VM; add the wall time of each request."""
    path = VMS
    for change in CHANGES:
        started_at = time.perf_counter()
        if change == "create":
            vm_id = client.call("POST", VMS, {"name": name, **CREATE_BODY})["id"]
            path = f"{VMS}/{vm_id}"
        else:
            client.call("POST", f"{path}/{change}")
        times[change, vms].append((time.perf_counter() - started_at) * 1000)
