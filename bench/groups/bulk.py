"""Aim 6: a bulk action is accepted at once, however many VMs it has."""

import time
from collections.abc import Iterator

from bench.aims import Limit, Result, Row
from bench.client import OPERATIONS, VMS, JsonClient, connect
from bench.options import RunOptions
from bench.servers import run_on_memory, run_on_openstack

MAX_SECONDS = 2.0


def measure_bulk(options: RunOptions) -> Iterator[Result]:
    """Stop all running VMs by one request."""
    vms = options.scale.bulk_vms
    # half of the sample VMs run
    with run_on_memory(options, 2 * vms) as server, connect(server.url) as client:
        yield from stop_all(client, vms, "memory cloud")
    for database in options.databases:
        cloud = run_on_openstack(options, "--active", str(vms), database=database)
        with cloud as server, connect(server.url) as client:
            client.wait_for_vms(vms)
            yield from stop_all(client, vms, f"OpenStack on {database}")


def stop_all(client: JsonClient, vms: int, title: str) -> Iterator[Row]:
    """Measure the time until the response, and until the operations are finished."""
    body = {"action": "stop", "filter": {"status": ["RUNNING"]}}
    started_at = time.perf_counter()
    response = client.call("POST", f"{VMS}/actions", body)
    accepted = time.perf_counter() - started_at
    if response["counts"]["refused"] or len(response["items"]) != vms:
        raise RuntimeError(f"not {vms} accepted VMs: {response['counts']}")
    wait_until_finished(client, response["operation_id"], vms)
    finished = time.perf_counter() - started_at
    yield Row(
        "6",
        f"bulk stop of {vms:,} VMs, {title}: until the response",
        accepted,
        "s",
        Limit.at_most(MAX_SECONDS),
        f"all finished after {finished:.1f} s",
    )


def wait_until_finished(client: JsonClient, operation_id: str, vms: int) -> None:
    """Wait for the end of a bulk operation. Raises RuntimeError if a VM failed."""
    bulk = {"finished_at": None}
    while not bulk["finished_at"]:
        bulk = client.call("GET", f"{OPERATIONS}/{operation_id}", Prefer="wait=60")
    if bulk["bulk"]["counts"]["succeeded"] != vms:
        raise RuntimeError(f"not all succeeded: {bulk['bulk']['counts']}")
