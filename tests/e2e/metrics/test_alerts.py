"""A real Prometheus scrapes two API workers and an engine worker; alerts fire and clear."""

from pathlib import Path

import pytest

from tests.support.engine_worker import EngineWorker
from tests.support.http_client import wait_until
from tests.support.openstack_process import OpenStackProcess
from tests.support.processes import Gunicorn, ServerProcess
from tests.support.prometheus import Prometheus

pytestmark = pytest.mark.disruption

CLOUD_ALERTS = {"VmapiCloudUnreachable", "VmapiInventoryStale"}
ENGINE_ALERTS = {"VmapiDown", "VmapiNoEngine"}


@pytest.fixture
def prometheus(
    tmp_path: Path,
    servers: list[ServerProcess],
    api: Gunicorn,
    engine_worker: EngineWorker,
    metrics_port: int,
) -> Prometheus:
    server = Prometheus(tmp_path, metrics_port, engine_worker.port)
    servers.append(server)
    return server.start()


def wait_for_alerts(prometheus: Prometheus, names: set[str], *, firing: bool) -> None:
    """Wait until all of these alerts fire, or none. A slow machine may cause others."""
    expected = names if firing else set()
    wait_until(f"the alerts {expected}", lambda: prometheus.firing_alerts() & names == expected)


def test_alerts_of_a_killed_cloud_fire_and_clear(
    prometheus: Prometheus, api: Gunicorn, openstack: OpenStackProcess
) -> None:
    wait_until("two API workers and an engine worker", lambda: count_processes(prometheus) == 3)
    wait_until("the inventory", lambda: prometheus.query("max(vmapi_inventory_vms)") == 20)
    wait_for_alerts(prometheus, CLOUD_ALERTS, firing=False)
    openstack.kill()
    wait_for_alerts(prometheus, CLOUD_ALERTS, firing=True)
    # reads continue while the alerts fire
    assert api.call.get_json("/api/v1/vms")["total"] == 20
    openstack.start()
    wait_for_alerts(prometheus, CLOUD_ALERTS, firing=False)


def test_alerts_of_a_killed_engine_worker_fire_and_clear(
    prometheus: Prometheus, engine_worker: EngineWorker
) -> None:
    wait_until("three processes", lambda: count_processes(prometheus) == 3)
    wait_for_alerts(prometheus, ENGINE_ALERTS, firing=False)
    engine_worker.kill()
    wait_for_alerts(prometheus, ENGINE_ALERTS, firing=True)
    engine_worker.start()
    wait_for_alerts(prometheus, ENGINE_ALERTS, firing=False)


def count_processes(prometheus: Prometheus) -> float:
    return prometheus.query("sum(vmapi_processes)")
