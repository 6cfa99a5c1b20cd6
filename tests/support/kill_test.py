"""The frame of a kill test: clients take VMs through their lives, while processes are killed.

Nova is simulated, and loses responses too. At the end each name has had exactly one server, and
none is left. Each change has succeeded once. A create may fail first: SIGKILL may come between the
commit of its operation and its request to Nova. Only the dead process knew what to send.
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from tests.support.http_client import HttpClient
from tests.support.live.deployment import Deployment
from tests.support.stateful_nova import run_stateful_nova

CONCURRENT_CLIENTS = 6
OPERATIONS = "/api/v1/operations?page_size=1000"
ACTIONS = ("create", "start", "stop", "delete")
UNSENT_CREATES = {
    "create failed: vmapi died before this was sent; send it again.",
    "create failed: The create never reached the cloud; nothing was changed.",
}
"""The outcomes of a create that never reached Nova."""

Life = Callable[[str], None]
"""Takes the VM of a name through its life."""

OpenClient = Callable[[str], AbstractContextManager[Life]]
"""Opens a client of a URL."""


@dataclass(frozen=True)
class KillPlan:
    """The size of a kill test; `kill_interval` is in seconds.

    Without `engine_workers`, a thread of each server process continues the operations.
    """

    creates: int
    kill_interval: tuple[float, float]
    engine_workers: int = 0
    max_kills: float = inf


@dataclass(frozen=True)
class KillReport:
    """The outcome: servers by name, servers left, kills, lost responses, outcomes of operations."""

    creates: Counter[str]
    names: list[str]
    live_servers: int
    kills: int
    lost_responses: int
    operations: Counter[str]


def run_kill_test(plan: KillPlan, folder: Path, open_client: OpenClient) -> KillReport:
    """Run the kill test on two processes of gunicorn, and on engine workers."""
    with run_stateful_nova(loses_responses=True) as (url, nova):
        settings = build_settings(url, folder)
        # a response is lost soon
        settings["VMAPI_BACKEND_TIMEOUT"] = "5"
        settings["VMAPI_ENGINE"] = "worker" if plan.engine_workers else "thread"
        deployment = Deployment(settings, plan.engine_workers, folder / "log")
        try:
            deployment.start()
            names = [f"kill-{number}" for number in range(plan.creates)]
            with open_client(deployment.url) as live_through:
                run_scenarios(live_through, names, deployment, plan)
            deployment.wait_until_ready()
            operations = count_operations(deployment.port)
        finally:
            deployment.stop()
        live, kills = len(nova.list_live()), deployment.disruptions["SIGKILL"]
        return KillReport(nova.creates, names, live, kills, nova.lost_responses, operations)


def run_scenarios(
    live_through: Life, names: list[str], deployment: Deployment, plan: KillPlan
) -> None:
    """Take all VMs through their lives, and kill processes until the last one has ended."""
    with ThreadPoolExecutor(CONCURRENT_CLIENTS) as pool:
        lives = [pool.submit(live_through, name) for name in names]
        while not all(life.done() for life in lives):
            kill_at = time.monotonic() + random.uniform(*plan.kill_interval)
            while time.monotonic() < kill_at and not all(life.done() for life in lives):
                time.sleep(0.2)
                deployment.restart_exited()
            is_complete = deployment.disruptions["SIGKILL"] >= plan.max_kills
            if not is_complete and not all(map(Future.done, lives)):
                deployment.kill_random_process()
        for life in lives:
            life.result()


def count_operations(port: int) -> Counter[str]:
    """Return the number of operations by action, status and error."""
    page = HttpClient(port).get_json(OPERATIONS)
    assert page["total"] == len(page["items"]), "use fewer creates"
    return Counter(map(describe_outcome, page["items"]))


def describe_outcome(operation: dict[str, Any]) -> str:
    """Return action and status of an operation, with the error if it has failed."""
    outcome, error = f"{operation['action']} {operation['status']}", operation["error"]
    return f"{outcome}: {error['detail']}" if error else outcome


def build_settings(cloud_url: str, folder: Path) -> dict[str, str]:
    """Return the settings of a vmapi with two processes on the simulated cloud."""
    return {
        "OPENSTACK_AUTH_URL": f"{cloud_url}/identity/v3",
        "OPENSTACK_USERNAME": "kill",
        "OPENSTACK_PASSWORD": "something",
        "OPENSTACK_PROJECT": "kill",
        "VMAPI_AUTH": "none",
        "VMAPI_BACKEND": "openstack",
        "VMAPI_BACKEND_TIMEOUT": "30",
        "VMAPI_DATABASE_URL": f"sqlite:///{folder}/vmapi.sqlite3",
        "VMAPI_WORKERS": "2",
    }


def check_report(report: KillReport) -> None:
    """Check that no server was lost or made twice, and that each change has succeeded once."""
    assert report.creates == dict.fromkeys(report.names, 1), report.creates
    assert report.live_servers == 0
    succeeded = {f"{action} succeeded": len(report.names) for action in ACTIONS}
    counted = {text: n for text, n in report.operations.items() if text not in UNSENT_CREATES}
    assert counted == succeeded, report.operations
