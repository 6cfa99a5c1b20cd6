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
from vmapi.api import responses as render
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.settings.settings import Settings

SERVERS = int(os.environ.get("TEST_SYNC_SERVERS", "60"))
BOOTED = 60
"""How many of them are made through Nova; what is more is there before vmapi is."""
SHARE = 0.5
OUTAGE = float(os.environ.get("TEST_SYNC_OUTAGE", "10"))
SWEPT = ("metadata", "addresses", "ip_address", "security_groups")
"""What Nova's changes-since does not tell of: it is there after a look at everything."""
SOON = 30.0
"""Seconds within which what changed is there, however loaded the machine; two on a quiet one."""
SWEEP = 150.0

VMs = dict[str, dict[str, Any]]

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("devcloud")]


@pytest.fixture
def backend(cloud_settings: Settings) -> Iterator[OpenStackBackend]:
    backend = OpenStackBackend.from_settings(cloud_settings)
    yield backend
    backend.close()


@pytest.fixture
def crowd(owner: Any) -> Iterator[ExternalServers]:
    crowd = ExternalServers(owner, f"sync-{uuid4().hex[:6]}")
    if SERVERS > BOOTED:
        fill_cloud(SERVERS - BOOTED, crowd.label)
    try:
        yield crowd
    finally:
        crowd.delete_servers()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Deployment]:
    if postgresql.find_programs() is None:
        required = "postgresql" in os.environ.get("TEST_REQUIRE", "").split(",")
        (pytest.fail if required else pytest.skip)("not installed: postgresql")
    with ENGINES["worker"](tmp_path) as around:
        settings = {
            "VMAPI_BACKEND": "openstack",
            "VMAPI_AUTH": "none",
            "VMAPI_ENGINE": "worker",
            "VMAPI_WORKERS": "2",
        }
        fleet = Deployment(settings | around.settings, around.workers, tmp_path / "log")
        fleet.start()
        try:
            yield fleet
        finally:
            fleet.stop()


class Comparison:
    """What vmapi shows of a crowd, held against what Nova shows of it."""

    def __init__(self, crowd: ExternalServers, backend: OpenStackBackend, url: str) -> None:
        self._crowd = crowd
        self._backend = backend
        self._client = RetryingClient(url)

    def hold(self, what: str) -> None:
        """See that the inventory becomes Nova's list, and print how long that takes."""
        self._crowd.wait_until_settled()
        started_at, expected = time.monotonic(), self._expected()
        listed = time.monotonic() - started_at
        self._comes(expected, SWEPT, SOON, every=0.1)
        quick = time.monotonic() - started_at
        self._comes(expected, (), SWEEP, every=1.0)
        whole = time.monotonic() - started_at
        print(
            f"{what}: {len(expected)} servers are the same after {quick:.1f} s, wholly after "
            f"{whole:.1f} s; Nova's own list took {listed:.1f} s of that"
        )
        assert {
            vm["id"] for vm in self._list("&status=DELETED").values()
        } == self._crowd.deleted_ids

    def _comes(self, expected: VMs, later: Sequence[str], deadline: float, every: float) -> None:
        try:
            wait_for(lambda: not _differing(self._served(), expected, later), deadline, every)
        except AssertionError:
            assert _differing(self._served(), expected, later) == {}

    def _expected(self) -> VMs:
        found = [
            vm for vm in self._backend.list_vms() if vm.name.startswith(f"{self._crowd.label}-")
        ]
        return {
            vm.id: json.loads(render.json_response(render.vm_document(vm)).data) for vm in found
        }

    def _served(self) -> VMs:
        return self._list("")

    def _list(self, more: str) -> VMs:
        path = f"/vms?page_size=1000&name={self._crowd.label}-*{more}"
        status, page = self._client.send("GET", path)
        assert (status, page["next"]) == (200, None)
        return {vm["id"]: vm for vm in page["items"]}


def _differing(shown: VMs, expected: VMs, later: Sequence[str]) -> dict[tuple[str, str], Any]:
    """Return what is shown, and what is so, where that is not the same; some comes `later`."""
    nothing: dict[str, Any] = {}
    found = {}
    for vm_id in {*shown, *expected}:
        ours, theirs = shown.get(vm_id, nothing), expected.get(vm_id, nothing)
        for name in {*ours, *theirs} - {*later}:
            if ours.get(name) != theirs.get(name):
                found[vm_id, name] = (ours.get(name), theirs.get(name))
    return found


def test_the_inventory_is_novas_list(
    crowd: ExternalServers, backend: OpenStackBackend, fleet: Deployment
) -> None:
    comparison = Comparison(crowd, backend, fleet.url)
    crowd.create_servers(min(SERVERS, BOOTED))
    comparison.hold("made")
    with InventoryWatch(fleet.url, crowd.label).measuring_lag("changed"):
        crowd.change_share(SHARE)
        comparison.hold("changed")
    crowd.change_share(SHARE)
    fleet.kill_workers()
    crowd.create_servers(SERVERS // 10)
    fleet.restart_exited()
    comparison.hold("changed while who syncs was killed")
    crowd.change_share(SHARE / 2)
    with stopped_service("nova-api", "kill"):
        time.sleep(OUTAGE)
    crowd.change_share(SHARE / 2)
    comparison.hold("changed around an outage")
