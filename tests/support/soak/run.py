"""One soak: mixed load with faults, samples of the processes, and the checks at the end."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import create_engine

from tests.support.cluster_load import ClusterClients, LoadReport
from tests.support.event_stream import open_at_worker
from tests.support.http_client import wait_until
from tests.support.live.gunicorn_server import GunicornServer, serve_gunicorn
from tests.support.live.postgresql import serve_postgresql
from tests.support.processes import run_flask
from tests.support.soak.clouds import CLOUDS, SoakCloud
from tests.support.soak.faults import FaultPlan
from tests.support.soak.flatness import find_growth, find_leaks
from tests.support.soak.samples import ResponseTimes, Sample, Sampler

MIN_SAMPLES = 24
SAMPLE_SECONDS = 10.0
FAULT_SECONDS = 60.0
FAULTS_OF_A_SHORT_RUN = 5
PAUSE_SECONDS = 0.2
LISTENERS = 4
MAX_REPEAT_SECONDS = 900.0
"""How long a client repeats one request: a loaded OpenStack takes minutes for a VM."""


@dataclass(frozen=True)
class SoakResult:
    """The samples of a soak, its load and its faults."""

    samples: list[Sample]
    report: LoadReport
    faults: list[str]
    events: int

    def check_curves(self) -> None:
        """Assert that each curve is flat."""
        assert find_growth(self.samples) == {}

    def check_leaks(self) -> None:
        """Assert that no resource leaks, after a run that is too short for flat curves."""
        assert find_leaks(self.samples) == {}


class EventListeners:
    """Clients that read events without pause, and connect again when a stream ends."""

    def __init__(self, port: int) -> None:
        self._address = ("127.0.0.1", port)
        self._stopped = threading.Event()
        self.events = 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Listen during the block."""
        threads = [threading.Thread(target=self._listen, daemon=True) for _ in range(LISTENERS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join()

    def _listen(self) -> None:
        while not self._stopped.is_set():
            try:
                stream = open_at_worker(self._address, "?wait=5", {})
                for block in stream.remaining_blocks():
                    self.events += block.startswith(b"id:") or b"\nid:" in block
                stream.close()
            except (OSError, AssertionError):
                # the worker was killed, or the cloud has no answer
                self._stopped.wait(PAUSE_SECONDS)


def run_soak(folder: Path, cloud_name: str, database: str, minutes: float) -> SoakResult:
    """Run a soak; assert that nothing was lost or made twice, and that listeners got events."""
    with ExitStack() as stack:
        cloud = stack.enter_context(CLOUDS[cloud_name](folder))
        url, restart_database = f"sqlite:///{folder}/vmapi.sqlite3", None
        if database == "postgresql":
            postgresql = stack.enter_context(serve_postgresql())
            url, restart_database = postgresql.url, postgresql.restart
        settings = {**cloud.settings, "VMAPI_DATABASE_URL": url, "VMAPI_BACKEND": "openstack"}
        run_flask(folder, settings, "db", "upgrade")
        server = stack.enter_context(
            serve_gunicorn(folder, VMAPI_BACKEND_TIMEOUT="10", VMAPI_WORKERS="2", **settings)
        )
        interval = min(FAULT_SECONDS, minutes * 60 / FAULTS_OF_A_SHORT_RUN)
        faults = FaultPlan(cloud.proxy, server, interval, restart_database)
        return _run_load(server, cloud, faults, url, minutes * 60)


def _run_load(
    server: GunicornServer, cloud: SoakCloud, faults: FaultPlan, url: str, seconds: float
) -> SoakResult:
    times, listeners = ResponseTimes(), EventListeners(server.port)
    clients = ClusterClients(
        server.port, cloud.new_vm, f"{cloud.run}-", PAUSE_SECONDS, times.record
    )
    engine = create_engine(url)
    clients.max_repeat_seconds = MAX_REPEAT_SECONDS
    sampler = Sampler(server, engine, times, lambda: (faults.current, len(clients.report.names)))
    interval, end = min(SAMPLE_SECONDS, seconds / MIN_SAMPLES), time.monotonic() + seconds
    with clients.running() as report, listeners.running(), faults.running():
        while time.monotonic() < end:
            time.sleep(interval)
            sampler.sample()
    engine.dispose()
    assert listeners.events > 0
    check_nothing_is_lost(cloud, report)
    return SoakResult(sampler.samples, report, faults.names, listeners.events)


def check_nothing_is_lost(cloud: SoakCloud, report: LoadReport) -> None:
    """Assert that each create made one server, that all are deleted, and each answer a problem."""
    # a request to a killed worker has no response: its repeat had one
    assert report.foreign == []
    creates = cloud.count_creates()
    assert {name: creates[name] for name in report.names} == dict.fromkeys(report.names, 1)
    wait_until("the deletes", lambda: cloud.count_live() == 0)
