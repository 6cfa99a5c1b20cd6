"""The kill test in short, and what a worker does that is asked to stop."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.live.crash_recovery import Harm, clean, torture
from tests.support.live import postgresql, rabbitmq
from tests.support.live.api_script import RUN, until
from tests.support.live.deployment import Fleet
from tests.support.live.engine_environment import ENGINES
from tests.support.live.retrying_client import Client
from tests.support.live.vm_scenario import WANTED

CREATES = 6
SHORT = Harm(kill=(2.0, 5.0), outage=2.0, lasts=18.0, gentle=True)
AT_ONCE = 20.0
"""Seconds within which what a worker was carrying on has ended when the next one has it."""

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("devcloud")]


@pytest.fixture(params=tuple(ENGINES))
def engine(request: pytest.FixtureRequest) -> str:
    """Return an engine whose surroundings there are; skip without them, unless required."""
    needed = {"worker": ("postgresql",), "celery": ("postgresql", "rabbitmq")}
    there = {"postgresql": postgresql.programs() is not None, "rabbitmq": rabbitmq.installed()}
    missing = [name for name in needed.get(request.param, ()) if not there[name]]
    if missing:
        required = set(missing) & set(os.environ.get("TEST_REQUIRE", "").split(","))
        (pytest.fail if required else pytest.skip)(f"not installed: {', '.join(missing)}")
    return str(request.param)


def test_nothing_is_lost_and_nothing_doubled(engine: str, tmp_path: Path) -> None:
    run = torture(engine, CREATES, SHORT, tmp_path)
    assert run.fleet.did["SIGKILL"] > 0
    assert run.fleet.did["Nova's API away"] > 0
    assert run.around.restart is None or run.fleet.did[f"{run.around.service} restarted"] > 0
    assert not any(answer.startswith("500") for answer in run.client.answers)


@pytest.mark.parametrize("engine", ["worker", "celery"], indirect=True)
def test_a_worker_that_is_stopped_hands_over(engine: str, tmp_path: Path, owner: Any) -> None:
    name = f"{RUN}-{engine}"
    with ENGINES[engine](tmp_path) as around:
        settings = {
            "VMAPI_BACKEND": "openstack",
            "VMAPI_AUTH": "none",
            "VMAPI_ENGINE": engine,
            **around.settings,
        }
        fleet = Fleet(settings, 1, tmp_path / "log")
        try:
            fleet.start()
            client = Client(fleet.url)
            slow = {"name": name, **WANTED, "metadata": {"devcloud_delay": "20"}}
            status, vm = client.send("POST", "/vms", slow)
            assert (status, vm["task"]) == (202, "creating")
            assert fleet.stop_workers() == [0]
            assert client.send("GET", f"/vms/{vm['id']}")[1]["task"] == "creating"
            until(lambda: owner.compute.get_server(vm["id"]).status == "ACTIVE")
            begun = time.monotonic()
            fleet.tend()
            until(lambda: client.send("GET", f"/vms/{vm['id']}")[1]["status"] == "STOPPED")
            assert time.monotonic() - begun < AT_ONCE
        finally:
            fleet.stop()
            clean(name)
