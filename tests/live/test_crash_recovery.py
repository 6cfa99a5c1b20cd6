"""The kill test in short, and what a worker does that is asked to stop."""

import os
import time
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
AT_ONCE = 20.0
"""Seconds within which what a worker was carrying on has ended when the next one has it."""

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("devcloud")]


@pytest.fixture(params=tuple(ENGINES))
def engine(request: pytest.FixtureRequest) -> str:
    """Return an engine whose surroundings there are; skip without them, unless required."""
    needed = {"worker": ("postgresql",), "celery": ("postgresql", "rabbitmq")}
    there = {
        "postgresql": postgresql.find_programs() is not None,
        "rabbitmq": rabbitmq.is_installed(),
    }
    missing = [name for name in needed.get(request.param, ()) if not there[name]]
    if missing:
        required = set(missing) & set(os.environ.get("TEST_REQUIRE", "").split(","))
        (pytest.fail if required else pytest.skip)(f"not installed: {', '.join(missing)}")
    return str(request.param)


def test_nothing_is_lost_and_nothing_doubled(engine: str, tmp_path: Path) -> None:
    run = run_kill_test(engine, CREATES, SHORT, tmp_path)
    assert run.deployment.disruptions["SIGKILL"] > 0
    assert run.deployment.disruptions["Nova's API away"] > 0
    assert (
        run.environment.restart is None
        or run.deployment.disruptions[f"{run.environment.service} restarted"] > 0
    )
    assert not any(response.startswith("500") for response in run.client.response_counts)


@pytest.mark.parametrize("engine", ["worker", "celery"], indirect=True)
def test_a_worker_that_is_stopped_hands_over(engine: str, tmp_path: Path, owner: Any) -> None:
    name = f"{RUN_LABEL}-{engine}"
    with ENGINES[engine](tmp_path) as around:
        settings = {
            "VMAPI_BACKEND": "openstack",
            "VMAPI_AUTH": "none",
            "VMAPI_ENGINE": engine,
            **around.settings,
        }
        fleet = Deployment(settings, 1, tmp_path / "log")
        try:
            fleet.start()
            client = RetryingClient(fleet.url)
            slow = {"name": name, **VM_OPTIONS, "metadata": {"devcloud_delay": "20"}}
            status, vm = client.send("POST", "/vms", slow)
            assert (status, vm["task"]) == (202, "creating")
            assert fleet.stop_workers() == [0]
            assert client.send("GET", f"/vms/{vm['id']}")[1]["task"] == "creating"
            wait_for(lambda: owner.compute.get_server(vm["id"]).status == "ACTIVE")
            started_at = time.monotonic()
            fleet.restart_exited()
            wait_for(lambda: client.send("GET", f"/vms/{vm['id']}")[1]["status"] == "STOPPED")
            assert time.monotonic() - started_at < AT_ONCE
        finally:
            fleet.stop()
            delete_servers(name)
