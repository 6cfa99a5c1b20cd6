"""Measure the overhead of the driver: `OS_CLOUD=… .venv/bin/python -m bench.driver [TURNS]`.

The baseline is the same request, sent with `requests` on a keep-alive connection. Both take turns,
so that a slow phase of the cloud affects both. The output is the median of each, and the median of
the differences within a turn. CPU is that of this process.
"""

import os
import statistics
import sys
import time
from collections.abc import Callable

import openstack
import requests

from bench.clock import measure
from bench.machine import describe_machine
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import CreateSpec
from vmapi.settings.settings import Settings

NAME = "bench-driver"


def main(turns: int) -> None:
    """Print the medians for one server and for the list of servers."""
    backend = OpenStackBackend.from_settings(Settings.load())
    vm_id = create_server(backend)
    try:
        nova = RawNova(backend)
        print(*map(": ".join, describe_machine().items()), f"{turns} turns", sep="\n")
        compare(
            "one server",
            turns,
            lambda: nova.get(f"/servers/{vm_id}"),
            lambda: backend.get_vm(vm_id),
        )
        compare("the list", turns, lambda: nova.get("/servers/detail"), backend.list_vms)
    finally:
        backend.perform_action(vm_id, Verb.DELETE)
        backend.close()


class RawNova:
    """A Nova client without the driver: one connection, one token, no parsing."""

    def __init__(self, backend: OpenStackBackend) -> None:
        cloud = openstack.connect(cloud=os.environ["OS_CLOUD"])
        self.url = cloud.compute.get_endpoint() or ""
        self.http = requests.Session()
        self.http.headers["X-Auth-Token"] = cloud.auth_token or ""
        microversion = backend.describe()["microversion"]
        self.http.headers["OpenStack-API-Version"] = f"compute {microversion}"

    def get(self, path: str) -> bytes:
        """Return the body of a GET response."""
        answer = self.http.get(self.url + path, timeout=30)
        answer.raise_for_status()
        return answer.content


def create_server(backend: OpenStackBackend) -> str:
    """Create a server, and wait until it is settled; return its id."""
    spec = CreateSpec(
        name=NAME,
        flavor_id=min(backend.list_flavors(), key=lambda flavor: flavor.ram_mb).id,
        image_id=backend.list_images()[0].id,
        network_id=next(network.id for network in backend.list_networks() if not network.external),
        metadata={},
        user_data=None,
        key_name=None,
        security_groups=(),
    )
    vm_id = backend.create_vm(spec, NAME).vm_id
    while backend.get_vm(vm_id).task is not None:
        time.sleep(0.5)
    return vm_id


def compare(label: str, turns: int, peer: Callable[[], object], ours: Callable[[], object]) -> None:
    """Print the durations of both, in milliseconds."""
    pairs = [(measure(peer), measure(ours)) for _ in range(turns + 3)][3:]
    durations = {
        "Nova alone": [nova for nova, _ in pairs],
        "through the driver": [whole for _, whole in pairs],
        "added": [whole - nova for nova, whole in pairs],
    }
    for name, times in durations.items():
        wall = statistics.median(duration.wall for duration in times)
        cpu = statistics.median(duration.cpu for duration in times)
        print(f"{label:<12} {name:<20} {wall:8.2f} ms wall {cpu:8.2f} ms CPU")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
