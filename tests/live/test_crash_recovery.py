"""A short kill test, and the handover of operations when a worker stops."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.live.crash_recovery import DisruptionPlan, delete_servers, run_kill_test
from tests.support.live import postgresql, rabbitmq
from tests.support.live.api_script import RUN_LABEL, wait_for
from tests.support.live.deployment import Deployment
from tests.support.live.engine_environment import ENGINES
from tests.support.live.retrying_client import RetryingClient
from tests.support.live.vm_scenario import VM_OPTIONS

CREATES = 6
SHORT = DisruptionPlan(
    kill_interval=(2.0, 5.0), outage_interval=2.0, duration=18.0, stops_nova_gracefully=True
)
HANDOVER_TIMEOUT = 90.0
"""Seconds until the next worker has started and finished the operations of a stopped worker."""

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("devcloud")]


@pytest.fixture(params=tuple(ENGINES))
def engine(request: pytest.FixtureRequest) -> str:
    """Return an engine with its services installed; skip without them, unless required."""
    requirements = {"worker": ("postgresql",), "celery": ("postgresql", "rabbitmq")}
    is_installed = {
        "postgresql": postgresql.find_programs() is not None,
        "rabbitmq": rabbitmq.is_installed(),
    }
    missing = [name for name in requirements.get(request.param, ()) if not is_installed[name]]
    if missing:
        required = set(missing) & set(os.environ.get("TEST_REQUIRE", "").split(","))
        (pytest.fail if required else pytest.skip)(f"not installed: {', '.join(missing)}")
    return str(request.param)


def test_each_key_has_one_server_after_the_kill_test(engine: str, tmp_path: Path) -> None:
    kill_test = run_kill_test(engine, CREATES, SHORT, tmp_path)
    assert kill_test.deployment.disruptions["SIGKILL"] > 0
    assert kill_test.deployment.disruptions["Nova API outage"] > 0
    assert (
        kill_test.environment.restart is None
        or kill_test.deployment.disruptions[f"{kill_test.environment.service} restarted"] > 0
    )
    assert not any(response.startswith("500") for response in kill_test.client.response_counts)


@pytest.mark.parametrize("engine", ["worker", "celery"], indirect=True)
def test_operation_of_a_stopped_worker_continues_in_the_next_worker(
    engine: str, tmp_path: Path, owner: Any
) -> None:
    name = f"{RUN_LABEL}-{engine}"
    with ENGINES[engine](tmp_path) as environment:
        settings = {
            "VMAPI_BACKEND": "openstack",
            "VMAPI_AUTH": "none",
            "VMAPI_ENGINE": engine,
            **environment.settings,
        }
        deployment = Deployment(settings, 1, tmp_path / "log")
        try:
            deployment.start()
            client = RetryingClient(deployment.port)
            slow = {"name": name, **VM_OPTIONS, "metadata": {"devcloud_delay": "20"}}
            status, vm = client.send("POST", "/vms", slow)
            assert (status, vm["task"]) == (202, "creating")
            assert deployment.stop_workers() == [0]
            assert client.send("GET", f"/vms/{vm['id']}")[1]["task"] == "creating"
            wait_for(lambda: owner.compute.get_server(vm["id"]).status == "ACTIVE")
            deployment.restart_exited()
            path = f"/vms/{vm['id']}"
            wait_for(lambda: client.send("GET", path)[1]["status"] == "STOPPED", HANDOVER_TIMEOUT)
        finally:
            deployment.stop()
            delete_servers(name)
