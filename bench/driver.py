"""What a driver call adds to Nova's own answer: `OS_CLOUD=… .venv/bin/python -m bench.driver [N]`.

The peer is the same request sent with `requests` on a connection that is kept alive. The two take
turns, so that a slow moment of the cloud meets both; what is printed is the median of each, and the
median of the differences within a turn. CPU is this process's own.
"""

import statistics
import sys
import time
from collections.abc import Callable

import requests

from bench.clock import measure
from bench.machine import describe_machine
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import CreateSpec
from vmapi.settings.settings import Settings

NAME = "bench-driver"


def main(turns: int) -> None:
    """Print the medians for one server and for the list."""
    backend = OpenStackBackend.from_settings(Settings.load())
    vm_id = create_server(backend)
    try:
        nova = RawNova(backend)
        print(describe_machine(), f"{turns} turns", sep="\n")
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
    """Nova without a driver: one connection, one token, raw bytes."""

    def __init__(self, backend: OpenStackBackend) -> None:
        door = backend._session._get_endpoint("compute")
        self.url = door.url
        self.http = requests.Session()
        self.http.headers["X-Auth-Token"] = door.proxy.session.get_token()
        self.http.headers["OpenStack-API-Version"] = f"compute {door.microversion}"

    def get(self, path: str) -> bytes:
        """Return the bytes behind a path."""
        answer = self.http.get(self.url + path, timeout=30)
        answer.raise_for_status()
        return answer.content


def create_server(backend: OpenStackBackend) -> str:
    """Have a server to read, and wait until it is settled."""
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


def compare(what: str, turns: int, peer: Callable[[], object], ours: Callable[[], object]) -> None:
    """Print what each takes, in milliseconds."""
    pairs = [(measure(peer), measure(ours)) for _ in range(turns + 3)][3:]
    found = {
        "Nova alone": [nova for nova, _ in pairs],
        "through the driver": [whole for _, whole in pairs],
        "added": [whole - nova for nova, whole in pairs],
    }
    for name, times in found.items():
        wall = statistics.median(each.wall for each in times)
        cpu = statistics.median(each.cpu for each in times)
        print(f"{what:<12} {name:<20} {wall:8.2f} ms wall {cpu:8.2f} ms CPU")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
