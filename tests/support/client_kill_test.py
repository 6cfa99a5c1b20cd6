"""The kill test of the Python client: its changes, while processes of vmapi are killed.

`make killtest` runs the long form. Nova is simulated, and
loses responses too. At the end each name has had exactly one server, and none is left.
"""

import argparse
import random
import tempfile
import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.support.live.deployment import Deployment
from tests.support.stateful_nova import run_stateful_nova
from vmapi_client import Client
from vmapi_client.models import VM

CONCURRENT_CLIENTS = 6
CLIENT_TIMEOUT_SECONDS = 300.0
STEPS = ("start", "stop")


@dataclass(frozen=True)
class KillPlan:
    """The size of a kill test; `kill_interval` is in seconds."""

    creates: int
    kill_interval: tuple[float, float]


@dataclass(frozen=True)
class KillReport:
    """The outcome: servers by name, servers left, kills, lost responses, outcomes of operations."""

    creates: Counter[str]
    names: list[str]
    live_servers: int
    kills: int
    lost_responses: int
    operations: Counter[str]


def run_kill_test(plan: KillPlan, folder: Path) -> KillReport:
    """Run the kill test on two processes of gunicorn."""
    with run_stateful_nova() as (url, nova):
        deployment = Deployment(build_settings(url, folder), 0, folder / "log")
        try:
            deployment.start()
            names = [f"kill-{number}" for number in range(plan.creates)]
            with Client(deployment.url, timeout=CLIENT_TIMEOUT_SECONDS) as client:
                run_scenarios(client, names, deployment, plan)
                deployment.wait_until_ready()
                operations = Counter(
                    f"{operation.action} {operation.status}"
                    for operation in client.operations.list(page_size=1000)
                )
        finally:
            deployment.stop()
        live, kills = len(nova.list_live()), deployment.disruptions["SIGKILL"]
        return KillReport(nova.creates, names, live, kills, nova.lost_responses, operations)


def run_scenarios(client: Client, names: list[str], deployment: Deployment, plan: KillPlan) -> None:
    """Take all VMs through their lives, and kill processes until the last one has ended."""
    with ThreadPoolExecutor(CONCURRENT_CLIENTS) as pool:
        lives = [pool.submit(live_through, client, name) for name in names]
        while not all(life.done() for life in lives):
            kill_at = time.monotonic() + random.uniform(*plan.kill_interval)
            while time.monotonic() < kill_at and not all(life.done() for life in lives):
                time.sleep(0.2)
                deployment.restart_exited()
            if not all(map(Future.done, lives)):
                deployment.kill_random_process()
        for life in lives:
            life.result()


def live_through(client: Client, name: str) -> None:
    """Take a VM through its life with waiting changes."""
    vm: VM = client.vms.create(name, flavor="m1.tiny", image="cirros", wait=True)
    assert vm.status == "STOPPED", vm
    assert client.vms.start(vm, wait=True).status == "RUNNING"
    assert client.vms.stop(vm, wait=True).status == "STOPPED"
    client.vms.delete(vm, wait=True)


def build_settings(cloud_url: str, folder: Path) -> dict[str, str]:
    """Return the settings of a vmapi with two processes on the simulated cloud."""
    return {
        "OPENSTACK_AUTH_URL": f"{cloud_url}/identity/v3",
        "OPENSTACK_USERNAME": "kill",
        "OPENSTACK_PASSWORD": "something",
        "OPENSTACK_PROJECT": "kill",
        "VMAPI_AUTH": "none",
        "VMAPI_BACKEND": "openstack",
        "VMAPI_BACKEND_TIMEOUT": "5",
        "VMAPI_DATABASE_URL": f"sqlite:///{folder}/vmapi.sqlite3",
        "VMAPI_WORKERS": "2",
    }


def main() -> None:
    """Run the kill test with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--creates", type=int, default=200)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vmapi-client-kill-"))
    print(f"the log is {folder}/log", flush=True)
    report = run_kill_test(KillPlan(arguments.creates, (2.0, 8.0)), folder)
    print(f"{report.kills} kills, {report.lost_responses} responses of Nova lost")
    print("operations:", dict(report.operations))
    check_report(report)
    print("one server a name, none left")


def check_report(report: KillReport) -> None:
    """Check that no server was lost or made twice."""
    assert report.creates == dict.fromkeys(report.names, 1), report.creates
    assert report.live_servers == 0


if __name__ == "__main__":
    main()
