"""The inventory against Nova's own list, while others change everything behind our back."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.support.live import postgresql
from tests.support.live.api_script import wait_for
from tests.support.live.deployment import Deployment
from tests.support.live.devcloud_services import fill_cloud, stopped_service
from tests.support.live.engine_environment import ENGINES
from tests.support.live.external_servers import ExternalServers
from tests.support.live.inventory_watch import InventoryWatch
from tests.support.live.retrying_client import RetryingClient
from vmapi.api import responses
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.settings.settings import Settings

SERVER_COUNT = int(os.environ.get("TEST_SYNC_SERVERS", "60"))
MAX_BOOTED_SERVERS = 60
"""Servers that Nova boots; further servers exist before vmapi starts."""
CHANGED_SHARE = 0.5
OUTAGE_SECONDS = float(os.environ.get("TEST_SYNC_OUTAGE", "10"))
FULL_SYNC_FIELDS = ("metadata", "addresses", "ip_address", "security_groups")
"""VM fields without an entry in Nova's changes-since: a full sync finds their changes."""
INCREMENTAL_SYNC_TIMEOUT = 55.0
"""Seconds until an incremental sync on a loaded machine; two on an idle one."""
FULL_SYNC_TIMEOUT = 150.0

VMs = dict[str, dict[str, Any]]

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("devcloud")]


@pytest.fixture
def backend(cloud_settings: Settings) -> Iterator[OpenStackBackend]:
    backend = OpenStackBackend.from_settings(cloud_settings)
    yield backend
    backend.close()


@pytest.fixture
def external_servers(owner: Any) -> Iterator[ExternalServers]:
    external_servers = ExternalServers(owner, f"sync-{uuid4().hex[:6]}")
    if SERVER_COUNT > MAX_BOOTED_SERVERS:
        fill_cloud(SERVER_COUNT - MAX_BOOTED_SERVERS, external_servers.label)
    try:
        yield external_servers
    finally:
        external_servers.delete_servers()


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    if postgresql.find_programs() is None:
        required = "postgresql" in os.environ.get("TEST_REQUIRE", "").split(",")
        (pytest.fail if required else pytest.skip)("not installed: postgresql")
    with ENGINES["worker"](tmp_path) as environment:
        settings = {
            "VMAPI_BACKEND": "openstack",
            "VMAPI_AUTH": "none",
            "VMAPI_ENGINE": "worker",
            "VMAPI_WORKERS": "2",
        }
        deployment = Deployment(
            settings | environment.settings, environment.workers, tmp_path / "log"
        )
        deployment.start()
        try:
            yield deployment
        finally:
            deployment.stop()


class Comparison:
    """Compares the inventory with Nova's list of the external servers."""

    def __init__(
        self, external_servers: ExternalServers, backend: OpenStackBackend, port: int
    ) -> None:
        self._external_servers = external_servers
        self._backend = backend
        self._client = RetryingClient(port)

    def assert_equal(self, title: str) -> None:
        """Assert that the inventory becomes equal to Nova's list, and print the time until then."""
        self._external_servers.wait_until_settled()
        started_at, expected = time.monotonic(), self._expected()
        list_seconds = time.monotonic() - started_at
        self._wait_until_equal(expected, FULL_SYNC_FIELDS, INCREMENTAL_SYNC_TIMEOUT, every=0.1)
        incremental_seconds = time.monotonic() - started_at
        self._wait_until_equal(expected, (), FULL_SYNC_TIMEOUT, every=1.0)
        full_sync_seconds = time.monotonic() - started_at
        print(
            f"{title}: {len(expected)} servers are equal after {incremental_seconds:.1f} s, "
            f"in all fields after {full_sync_seconds:.1f} s; "
            f"of that, Nova's list took {list_seconds:.1f} s"
        )
        assert {
            vm["id"] for vm in self._list("&status=DELETED").values()
        } == self._external_servers.deleted_ids

    def _wait_until_equal(
        self, expected: VMs, ignored_fields: Sequence[str], deadline: float, every: float
    ) -> None:
        try:
            wait_for(
                lambda: not _differing(self._served(), expected, ignored_fields), deadline, every
            )
        except AssertionError:
            assert _differing(self._served(), expected, ignored_fields) == {}

    def _expected(self) -> VMs:
        vms = [
            vm
            for vm in self._backend.list_vms()
            if vm.name.startswith(f"{self._external_servers.label}-")
        ]
        return {
            vm.id: json.loads(responses.json_response(responses.vm_document(vm)).data) for vm in vms
        }

    def _served(self) -> VMs:
        return self._list("")

    def _list(self, query: str) -> VMs:
        path = f"/vms?page_size=1000&name={self._external_servers.label}-*{query}"
        status, page = self._client.send("GET", path)
        assert (status, page["next"]) == (200, None)
        return {vm["id"]: vm for vm in page["items"]}


def _differing(
    actual: VMs, expected: VMs, ignored_fields: Sequence[str]
) -> dict[tuple[str, str], Any]:
    """Return the fields with different values in the inventory and in Nova."""
    absent: dict[str, Any] = {}
    differences = {}
    for vm_id in {*actual, *expected}:
        actual_vm, expected_vm = actual.get(vm_id, absent), expected.get(vm_id, absent)
        for name in {*actual_vm, *expected_vm} - {*ignored_fields}:
            if actual_vm.get(name) != expected_vm.get(name):
                differences[vm_id, name] = (actual_vm.get(name), expected_vm.get(name))
    return differences


def test_inventory_equals_novas_list(
    external_servers: ExternalServers, backend: OpenStackBackend, deployment: Deployment
) -> None:
    comparison = Comparison(external_servers, backend, deployment.port)
    external_servers.create_servers(min(SERVER_COUNT, MAX_BOOTED_SERVERS))
    comparison.assert_equal("created")
    with InventoryWatch(deployment.url, external_servers.label).measuring_lag("changed"):
        external_servers.change_share(CHANGED_SHARE)
        comparison.assert_equal("changed")
    external_servers.change_share(CHANGED_SHARE)
    deployment.kill_workers()
    external_servers.create_servers(SERVER_COUNT // 10)
    deployment.restart_exited()
    comparison.assert_equal("changed during a kill of the workers")
    external_servers.change_share(CHANGED_SHARE / 2)
    with stopped_service("nova-api", "kill"):
        time.sleep(OUTAGE_SECONDS)
    external_servers.change_share(CHANGED_SHARE / 2)
    comparison.assert_equal("changed around an outage")
