"""The clouds of the soak: a simulated Nova or a real OpenStack, each behind a proxy for faults."""

import json
import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import openstack

from tests.support.cluster_load import NEW_VM
from tests.support.live.nova_proxy import NovaProxy, serve_proxy, write_clouds_file
from tests.support.live.vm_scenario import VM_OPTIONS
from tests.support.stateful_nova import run_stateful_nova


@dataclass
class SoakCloud:
    """A cloud, the settings of vmapi for it, and a prefix of the names of servers.

    `count_creates` counts the servers ever made, by name. `count_live` counts those that exist.
    """

    settings: dict[str, str]
    proxy: NovaProxy
    new_vm: dict[str, str]
    count_creates: Callable[[], Counter[str]]
    count_live: Callable[[], int]
    run: str = field(default_factory=lambda: f"soak-{uuid.uuid4().hex[:6]}")


@contextmanager
def simulated_cloud(folder: Path) -> Iterator[SoakCloud]:
    """Serve a simulated OpenStack for a `with` block."""
    with (
        run_stateful_nova(loses_responses=False) as (url, nova),
        serve_proxy(f"{url}/compute/v2.1") as proxy,
    ):
        names = ("username", "password", "project_name")
        auth = dict.fromkeys(names, "soak") | {"auth_url": f"{url}/identity/v3"}
        auth |= {"user_domain_name": "Default", "project_domain_name": "Default"}
        cloud = {"auth": auth, "compute_endpoint_override": proxy.url, "region_name": "R"}
        file = folder / "clouds.yaml"
        file.write_text(json.dumps({"clouds": {"soak": cloud}}))
        settings = {"OS_CLOUD": "soak", "OS_CLIENT_CONFIG_FILE": str(file)}
        yield SoakCloud(
            settings, proxy, NEW_VM, lambda: nova.creates, lambda: len(nova.list_live())
        )


@contextmanager
def openstack_cloud(folder: Path) -> Iterator[SoakCloud]:
    """Use the cloud of `OS_CLOUD`, with an admin's account of the name `-admin`."""
    name = os.environ["OS_CLOUD"]
    with (
        openstack.connect(cloud=name) as owner,
        openstack.connect(cloud=f"{name}-admin") as admin,
        serve_proxy(owner.compute.get_endpoint()) as proxy,
    ):
        file = write_clouds_file(folder, name, {}, compute_endpoint_override=proxy.url)

        def list_names(*, deleted: bool) -> list[str]:
            # Nova returns live servers, or deleted ones
            servers = admin.compute.servers(
                all_projects=True, name=cloud.run, deleted=deleted, limit=500
            )
            return [server.name for server in servers]

        cloud = SoakCloud(
            {"OS_CLOUD": name, "OS_CLIENT_CONFIG_FILE": file},
            proxy,
            VM_OPTIONS,
            lambda: Counter(list_names(deleted=False) + list_names(deleted=True)),
            lambda: len(list_names(deleted=False)),
        )
        try:
            yield cloud
        finally:
            for server in owner.compute.servers(name=cloud.run):
                owner.compute.delete_server(server, ignore_missing=True)


CLOUDS = {"simulated": simulated_cloud, "openstack": openstack_cloud}
