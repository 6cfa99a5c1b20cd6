"""The processes of the installation: one gunicorn with many workers, and the engines."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from bench.client import connect
from bench.databases import new_database
from bench.installation.postgresql import PostgresqlProbe
from bench.options import POSTGRESQL, RunOptions
from bench.processes import list_children, read_memory_mib, read_tree_cpu_seconds
from bench.servers import (
    GUNICORN,
    UNLIMITED,
    build_cloud_settings,
    free_port,
    run_server,
    run_worker,
)
from bench.standin import fake_openstack
from vmapi.store.store import Store

START_SECONDS = 300.0
SYNC_LEASES = ("sync", "full-sync")
SYNC_SECONDS = 1.0


@dataclass(frozen=True)
class Installation:
    """Running processes on one database."""

    url: str
    server_pid: int
    worker_pids: list[int]
    postgresql: PostgresqlProbe

    @property
    def api_pids(self) -> list[int]:
        """The processes that serve requests."""
        return list_children(self.server_pid)

    def read_cpu_seconds(self) -> tuple[float, float, float]:
        """Return the CPU time of the API, the workers and PostgreSQL."""
        workers = sum(map(read_tree_cpu_seconds, self.worker_pids))
        api = read_tree_cpu_seconds(self.server_pid)
        return api, workers, self.postgresql.read_cpu_seconds()

    def largest_api_mib(self) -> float:
        """Return the memory of the largest process of the API."""
        return max(map(read_memory_mib, self.api_pids))


@contextmanager
def run_installation(
    options: RunOptions, api: int, workers: int, report_seconds: float
) -> Iterator[Installation]:
    """Run the processes during the block, from the first response of each on.

    This process replaces the sync: the copied rows have no servers in the cloud.
    """
    with ExitStack() as stack:
        database_url = stack.enter_context(new_database(options, POSTGRESQL))
        postgresql = PostgresqlProbe(database_url, options.postgresql_url or "", report_seconds)
        stack.callback(postgresql.close)
        stack.enter_context(replacing_sync(database_url))
        port = free_port()
        settings = {
            **build_cloud_settings(stack.enter_context(fake_openstack("--shared"))),
            **UNLIMITED,
            "VMAPI_AUTH": "none",
            "VMAPI_BIND": f"127.0.0.1:{port}",
            "VMAPI_DATABASE_URL": database_url,
            "VMAPI_ENGINE": "worker",
            "VMAPI_WORKERS": str(api),
        }
        command = (options.python, *GUNICORN, "wsgi:app")
        server = stack.enter_context(run_server(options, port, command, "/livez", settings))
        pids = [stack.enter_context(run_worker(options, settings)) for _ in range(workers)]
        installation = Installation(server.url, server.pid, pids, postgresql)
        wait_until_all_serve(installation, api)
        yield installation


@contextmanager
def replacing_sync(database_url: str) -> Iterator[None]:
    """Hold the leases of the sync during the block, and set its marks each second."""
    store = Store(database_url, 2, lambda: datetime.now(UTC))
    stopping = threading.Event()

    def mark() -> None:
        for kind in SYNC_LEASES:
            store.leader_leases.acquire(kind)
        now = store.inventory.observation_time()
        store.inventory.mark_changes_synced(now)
        store.inventory.mark_full_sync(now)

    def run() -> None:
        while not stopping.wait(SYNC_SECONDS):
            mark()

    mark()
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()
        store.close()


def wait_until_all_serve(installation: Installation, api: int) -> None:
    """Send reads over new connections until all processes run. Raises TimeoutError."""
    deadline = time.monotonic() + START_SECONDS
    while len(installation.api_pids) < api:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(installation.api_pids)} of {api} processes run")
        time.sleep(0.2)
    for _ in range(api * 4):
        with connect(installation.url) as client:
            client.get_bytes("/readyz")
