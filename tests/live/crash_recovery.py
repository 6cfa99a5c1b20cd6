"""The kill test: clients repeat their requests while processes and services are killed.

`make torture`, or `python -m tests.live.crash_recovery --creates 200 --engine celery`. At the end
every idempotency key has exactly one server in Nova, and every operation has finished with its
outcome.
"""

import argparse
import os
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

import openstack

from tests.support.live.consistency_audit import ConsistencyAudit
from tests.support.live.deployment import Deployment
from tests.support.live.devcloud_services import stopped_service
from tests.support.live.engine_environment import ENGINES, EngineEnvironment
from tests.support.live.retrying_client import RetryingClient
from tests.support.live.vm_scenario import VMScenario

CONCURRENT_CLIENTS = 12
OUTAGE_SECONDS = 3.0
"""Seconds between the end and the start of Nova's API."""


@dataclass(frozen=True)
class DisruptionPlan:
    """The disruptions of a kill test; times are in seconds."""

    kill_interval: tuple[float, float] = (2.0, 8.0)
    """The least and the greatest time between two kills of a process."""
    outage_interval: float = 60.0
    duration: float = float("inf")
    """The time after which the disruptions end."""
    stops_nova_gracefully: bool = False
    """Whether Nova's API is stopped, not killed. A killed Nova may lose a create or a delete; the
    operation then fails at its deadline."""


@dataclass
class KillTest:
    """One run of the kill test."""

    deployment: Deployment
    environment: EngineEnvironment
    plan: DisruptionPlan
    run: str = field(default_factory=lambda: f"tort-{uuid.uuid4().hex[:6]}")
    finished: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.client = RetryingClient(self.deployment.port)
        self._started_at = time.monotonic()

    def run_scenarios(self, creates: int) -> Counter[str]:
        """Run all scenarios with disruptions, check consistency, and count the outcomes."""
        try:
            self.deployment.start()
            self._started_at = time.monotonic()
            with ThreadPoolExecutor(CONCURRENT_CLIENTS + 2) as pool:
                disruptions = [
                    pool.submit(self._kill_processes),
                    pool.submit(self._interrupt_services),
                ]
                scenarios = [VMScenario(f"{self.run}-{number}") for number in range(creates)]
                self._run_concurrently(scenarios, pool, disruptions)
            self.deployment.wait_until_ready()
            assert not self.deployment.worker_exit_codes, (
                f"workers exited without a kill: {self.deployment.worker_exit_codes}"
            )
            with openstack.connect(cloud=f"{os.environ['OS_CLOUD']}-admin") as admin:
                return ConsistencyAudit(admin, self.run, self.client).check(scenarios)
        finally:
            self.finished.set()
            self.deployment.stop()
            delete_servers(self.run)

    def _run_concurrently(
        self,
        scenarios: Sequence[VMScenario],
        pool: ThreadPoolExecutor,
        disruptions: Sequence[Future[None]],
    ) -> None:
        runs = [pool.submit(scenario.run, self.client) for scenario in scenarios]
        try:
            for future in runs:
                future.result()
        except BaseException:
            self.client.stopped.set()
            for future in runs:
                future.cancel()
            raise
        finally:
            self.finished.set()
        for future in disruptions:
            future.result()

    def _kill_processes(self) -> None:
        kill_at = self._random_time(*self.plan.kill_interval)
        while not self.finished.wait(0.5):
            self.deployment.restart_exited()
            if time.monotonic() > kill_at and self._is_disrupting():
                self.deployment.kill_random_process()
                kill_at = self._random_time(*self.plan.kill_interval)

    def _interrupt_services(self) -> None:
        """Stop and start each service, at least once."""
        while True:
            self.finished.wait(self.plan.outage_interval)
            with stopped_service("nova-api", "stop" if self.plan.stops_nova_gracefully else "kill"):
                self.finished.wait(OUTAGE_SECONDS)
            self.deployment.disruptions["Nova API outage"] += 1
            if self.environment.restart is not None:
                self.finished.wait(self.plan.outage_interval)
                self.environment.restart()
                self.deployment.disruptions[f"{self.environment.service} restarted"] += 1
            if not self._is_disrupting():
                return

    def _is_disrupting(self) -> bool:
        return (
            not self.finished.is_set() and time.monotonic() - self._started_at < self.plan.duration
        )

    def _random_time(self, least: float, most: float) -> float:
        return time.monotonic() + random.uniform(least, most)


def delete_servers(label: str) -> None:
    """Delete the servers with this name prefix, also if Nova has lost a delete."""
    with (
        openstack.connect(cloud=os.environ["OS_CLOUD"]) as cloud,
        openstack.connect(cloud=f"{os.environ['OS_CLOUD']}-admin") as admin,
    ):
        for server in cloud.compute.servers(name=label):
            with suppress(openstack.exceptions.NotFoundException):
                if server.task_state == "deleting":
                    # Nova ignores another delete of a server with this task
                    admin.compute.reset_server_state(server.id, "error")
                cloud.compute.delete_server(server)


def run_kill_test(engine: str, creates: int, plan: DisruptionPlan, folder: Path) -> KillTest:
    """Run the kill test with an engine, and print its disruptions and outcomes."""
    started_at = time.monotonic()
    with ENGINES[engine](folder) as environment:
        settings = {
            "VMAPI_BACKEND": "openstack",
            "VMAPI_AUTH": "none",
            "VMAPI_BACKEND_TIMEOUT": "10",
        }
        settings |= {
            "VMAPI_DEADLINES": "*=200",
            "VMAPI_ENGINE": engine,
            "VMAPI_WORKERS": "2",
            **environment.settings,
        }
        kill_test = KillTest(
            Deployment(settings, environment.workers, folder / "log"), environment, plan
        )
        try:
            print("operations:", dict(kill_test.run_scenarios(creates)))
        finally:
            print("responses:", dict(kill_test.client.response_counts))
            print("disruptions:", dict(kill_test.deployment.disruptions))
            print(f"{engine}, {creates} creates: {time.monotonic() - started_at:.0f} s")
        assert not kill_test.deployment.disruptions["SIGABRT after SIGTERM"], (
            f"see {kill_test.deployment.log}"
        )
    return kill_test


def main() -> None:
    """Run the kill test with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--creates", type=int, default=200)
    parser.add_argument("--engine", choices=tuple(ENGINES), default="thread")
    arguments = parser.parse_args()
    folder = Path(mkdtemp(prefix="vmapi-torture-"))
    print(f"the log is {folder}/log", flush=True)
    run_kill_test(arguments.engine, arguments.creates, DisruptionPlan(), folder)
    print("one server a key; every operation has finished")


if __name__ == "__main__":
    main()
