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

from tests.support.live.consistency_audit import Audit
from tests.support.live.deployment import Fleet
from tests.support.live.devcloud_services import away
from tests.support.live.engine_environment import ENGINES, Surroundings
from tests.support.live.retrying_client import Client
from tests.support.live.vm_scenario import Life

CLIENTS = 12
OUTAGE = 3.0
"""Seconds for which Nova's API is away, and some more until it has started."""


@dataclass(frozen=True)
class Harm:
    """Seconds between two kills and two outages; after `lasts` seconds vmapi is left in peace.

    Nova's API is killed too where it is not `gentle`. What Nova itself loses then, an operation
    says when its deadline is over.
    """

    kill: tuple[float, float] = (2.0, 8.0)
    outage: float = 60.0
    lasts: float = float("inf")
    gentle: bool = False


@dataclass
class Torture:
    """One run of it."""

    fleet: Fleet
    around: Surroundings
    harm: Harm
    run: str = field(default_factory=lambda: f"tort-{uuid.uuid4().hex[:6]}")
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.client = Client(self.fleet.url)
        self._begun = time.monotonic()

    def endure(self, creates: int) -> Counter[str]:
        """Run it, look at everything, and return how the operations ended."""
        try:
            self.fleet.start()
            self._begun = time.monotonic()
            with ThreadPoolExecutor(CLIENTS + 2) as pool:
                harm = [pool.submit(self._kill), pool.submit(self._outages)]
                lives = [Life(f"{self.run}-{number}") for number in range(creates)]
                self._lead(lives, pool, harm)
            self.fleet.ready()
            assert not self.fleet.ended, f"workers ended by themselves: {self.fleet.ended}"
            with openstack.connect(cloud=f"{os.environ['OS_CLOUD']}-admin") as admin:
                return Audit(admin, self.run, self.client).check(lives)
        finally:
            self.over.set()
            self.fleet.stop()
            clean(self.run)

    def _lead(
        self, lives: Sequence[Life], pool: ThreadPoolExecutor, harm: Sequence[Future[None]]
    ) -> None:
        led = [pool.submit(life.lead, self.client) for life in lives]
        try:
            for each in led:
                each.result()
        except BaseException:
            self.client.over.set()
            for each in led:
                each.cancel()
            raise
        finally:
            self.over.set()
        for each in harm:
            each.result()

    def _kill(self) -> None:
        due = self._in(*self.harm.kill)
        while not self.over.wait(0.5):
            self.fleet.tend()
            if time.monotonic() > due and self._goes_on():
                self.fleet.kill_one()
                due = self._in(*self.harm.kill)

    def _outages(self) -> None:
        """Have each service go away and come back, once at least."""
        while True:
            self.over.wait(self.harm.outage)
            with away("nova-api", "stop" if self.harm.gentle else "kill"):
                self.over.wait(OUTAGE)
            self.fleet.did["Nova's API away"] += 1
            if self.around.restart is not None:
                self.over.wait(self.harm.outage)
                self.around.restart()
                self.fleet.did[f"{self.around.service} restarted"] += 1
            if not self._goes_on():
                return

    def _goes_on(self) -> bool:
        return not self.over.is_set() and time.monotonic() - self._begun < self.harm.lasts

    def _in(self, least: float, most: float) -> float:
        return time.monotonic() + random.uniform(least, most)


def clean(run: str) -> None:
    """Delete what is left."""
    with openstack.connect(cloud=os.environ["OS_CLOUD"]) as cloud:
        for server in cloud.compute.servers(name=run):
            with suppress(openstack.exceptions.NotFoundException):
                cloud.compute.delete_server(server)


def torture(engine: str, creates: int, harm: Harm, place: Path) -> Torture:
    """Run it in the surroundings of an engine, and print what was done and what came of it."""
    begun = time.monotonic()
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
        run = Torture(Fleet(settings, around.workers, place / "log"), around, harm)
        try:
            print("operations:", dict(run.endure(creates)))
        finally:
            print("answers:", dict(run.client.answers))
            print("done to it:", dict(run.fleet.did))
            print(f"{engine}, {creates} creates: {time.monotonic() - begun:.0f} s")
        assert not run.fleet.did["would not stop"], f"see {run.fleet.log}"
    return run


def main() -> None:
    """Run the whole of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--creates", type=int, default=200)
    parser.add_argument("--engine", choices=tuple(ENGINES), default="thread")
    asked = parser.parse_args()
    place = Path(mkdtemp(prefix="vmapi-torture-"))
    print(f"the log is {place}/log", flush=True)
    torture(asked.engine, asked.creates, Harm(), place)
    print("one server a key; every operation is over")


if __name__ == "__main__":
    main()
