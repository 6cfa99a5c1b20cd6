"""The kill test: clients that repeat, processes that die, services that go away and come back.

`make torture`, or `python -m tests.live.crash_recovery --creates 200 --engine celery`. In the end
every idempotency key has exactly one server in Nova, and every operation is over and says what
happened.
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
"""Seconds for which Nova's API is away, and some more until it has started."""


@dataclass(frozen=True)
class DisruptionPlan:
    """Seconds between two kills and two outages; after `lasts` seconds vmapi is left in peace.

    Nova's API is killed too where it is not `gentle`. What Nova itself loses then, an operation
    says when its deadline is over.
    """

    kill_interval: tuple[float, float] = (2.0, 8.0)
    outage_interval: float = 60.0
    duration: float = float("inf")
    stops_nova_gracefully: bool = False


@dataclass
class KillTest:
    """One run of it."""

    deployment: Deployment
    environment: EngineEnvironment
    plan: DisruptionPlan
    run: str = field(default_factory=lambda: f"tort-{uuid.uuid4().hex[:6]}")
    finished: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.client = RetryingClient(self.deployment.url)
        self._begun = time.monotonic()

    def run_scenarios(self, creates: int) -> Counter[str]:
        """Run it, look at everything, and return how the operations ended."""
        try:
            self.deployment.start()
            self._begun = time.monotonic()
            with ThreadPoolExecutor(CONCURRENT_CLIENTS + 2) as pool:
                harm = [pool.submit(self._kill_processes), pool.submit(self._interrupt_services)]
                lives = [VMScenario(f"{self.run}-{number}") for number in range(creates)]
                self._run_concurrently(lives, pool, harm)
            self.deployment.wait_until_ready()
            assert not self.deployment.worker_exit_codes, (
                f"workers ended by themselves: {self.deployment.worker_exit_codes}"
            )
            with openstack.connect(cloud=f"{os.environ['OS_CLOUD']}-admin") as admin:
                return ConsistencyAudit(admin, self.run, self.client).check(lives)
        finally:
            self.finished.set()
            self.deployment.stop()
            delete_servers(self.run)

    def _run_concurrently(
        self, lives: Sequence[VMScenario], pool: ThreadPoolExecutor, harm: Sequence[Future[None]]
    ) -> None:
        led = [pool.submit(life.run, self.client) for life in lives]
        try:
            for each in led:
                each.result()
        except BaseException:
            self.client.stopped.set()
            for each in led:
                each.cancel()
            raise
        finally:
            self.finished.set()
        for each in harm:
            each.result()

    def _kill_processes(self) -> None:
        due = self._random_time(*self.plan.kill_interval)
        while not self.finished.wait(0.5):
            self.deployment.restart_exited()
            if time.monotonic() > due and self._is_disrupting():
                self.deployment.kill_random_process()
                due = self._random_time(*self.plan.kill_interval)

    def _interrupt_services(self) -> None:
        """Have each service go away and come back, once at least."""
        while True:
            self.finished.wait(self.plan.outage_interval)
            with stopped_service("nova-api", "stop" if self.plan.stops_nova_gracefully else "kill"):
                self.finished.wait(OUTAGE_SECONDS)
            self.deployment.disruptions["Nova's API away"] += 1
            if self.environment.restart is not None:
                self.finished.wait(self.plan.outage_interval)
                self.environment.restart()
                self.deployment.disruptions[f"{self.environment.service} restarted"] += 1
            if not self._is_disrupting():
                return

    def _is_disrupting(self) -> bool:
        return not self.finished.is_set() and time.monotonic() - self._begun < self.plan.duration

    def _random_time(self, least: float, most: float) -> float:
        return time.monotonic() + random.uniform(least, most)


def delete_servers(run: str) -> None:
    """Delete what is left."""
    with openstack.connect(cloud=os.environ["OS_CLOUD"]) as cloud:
        for server in cloud.compute.servers(name=run):
            with suppress(openstack.exceptions.NotFoundException):
                cloud.compute.delete_server(server)


def run_kill_test(engine: str, creates: int, harm: DisruptionPlan, place: Path) -> KillTest:
    """Run it in the surroundings of an engine, and print what was done and what came of it."""
    started_at = time.monotonic()
    with ENGINES[engine](place) as around:
        settings = {
            "VMAPI_BACKEND": "openstack",
            "VMAPI_AUTH": "none",
            "VMAPI_BACKEND_TIMEOUT": "10",
        }
        settings |= {
            "VMAPI_DEADLINES": "*=200",
            "VMAPI_ENGINE": engine,
            "VMAPI_WORKERS": "2",
            **around.settings,
        }
        run = KillTest(Deployment(settings, around.workers, place / "log"), around, harm)
        try:
            print("operations:", dict(run.run_scenarios(creates)))
        finally:
            print("answers:", dict(run.client.response_counts))
            print("done to it:", dict(run.deployment.disruptions))
            print(f"{engine}, {creates} creates: {time.monotonic() - started_at:.0f} s")
        assert not run.deployment.disruptions["would not stop"], f"see {run.deployment.log}"
    return run


def main() -> None:
    """Run the whole of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--creates", type=int, default=200)
    parser.add_argument("--engine", choices=tuple(ENGINES), default="thread")
    asked = parser.parse_args()
    place = Path(mkdtemp(prefix="vmapi-torture-"))
    print(f"the log is {place}/log", flush=True)
    run_kill_test(asked.engine, asked.creates, DisruptionPlan(), place)
    print("one server a key; every operation is over")


if __name__ == "__main__":
    main()
