"""A client reads its own changes from any process, as soon as each has its response."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from random import Random

import pytest

from tests.support.databases import new_postgresql
from tests.support.http_client import HttpClient, HttpResponse, wait_until
from tests.support.kill_test import build_settings
from tests.support.processes import Gunicorn
from tests.support.stateful_nova import run_stateful_nova
from vmapi.store import schema
from vmapi.store.database import Database

CLIENTS = 4
ROUNDS = 4
VMS = "/api/v1/vms"
WAIT = {"Prefer": "wait=20"}


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with ExitStack() as stack:
        if request.param == "postgresql":
            url = stack.enter_context(new_postgresql())
            with closing(Database(url, 1, schema.ensure_current)) as database:
                schema.upgrade(database)
            yield url
        else:
            yield f"sqlite:///{tmp_path}/vmapi.sqlite3"


@pytest.fixture
def processes(
    database_url: str, gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> Iterator[list[HttpClient]]:
    """Clients of two servers with one database and one cloud."""
    with run_stateful_nova(loses_responses=False) as (url, _):
        settings = {**build_settings(url, tmp_path), "VMAPI_DATABASE_URL": database_url}
        settings |= {"VMAPI_WORKERS": "1", "VMAPI_RATE_CHANGES": "off"}
        # else some clients find no slot to wait in
        settings |= {"VMAPI_THREADS": "32"}
        started = [gunicorn(**settings).start() for _ in range(2)]
        for server in started:
            server.wait_for("/readyz")
        yield [server.call for server in started]
        for server in started:
            server.stop()


class WritingClient:
    """A client that changes a VM by one process, and reads it by another."""

    def __init__(self, processes: list[HttpClient], number: int) -> None:
        self._processes = processes
        self._random = Random(number)
        self._name = f"own-{number}"

    def live_once(self) -> None:
        """Create, start, stop and delete a VM. Each read shows the change before it."""
        writer, reader = self._random.sample(self._processes, 2)
        new_vm = {"name": self._name, "flavor": "m1.tiny", "image": "cirros"}
        created = writer("POST", VMS, new_vm, headers=WAIT)
        assert created.status == 201, created
        path = f"{VMS}/{created.json['id']}"
        assert self._read(reader, path).json == created.json
        assert self._find(reader) == created.json
        starting = writer("POST", f"{path}/start")
        assert starting.status == 202, starting
        assert reader("GET", path).headers["ETag"] != created.headers["ETag"]
        wait_until("the start", lambda: reader.get_json(path)["task"] is None)
        stopped = writer("POST", f"{path}/stop", headers=WAIT)
        assert stopped.status == 200, stopped
        assert self._read(reader, path).json["status"] == "STOPPED"
        deleted = writer("DELETE", path, headers=WAIT)
        assert deleted.status == 204, deleted
        reader("GET", path).check_problem(404, "vm_not_found")
        assert reader.get_json(f"{VMS}?name={self._name}")["total"] == 0

    def _read(self, reader: HttpClient, path: str) -> HttpResponse:
        response = reader("GET", path)
        assert response.status == 200, response
        return response

    def _find(self, reader: HttpClient) -> dict[str, object]:
        listed = reader.get_json(f"{VMS}?name={self._name}")
        assert listed["total"] == len(listed["items"]) == 1
        vm: dict[str, object] = listed["items"][0]
        return vm


def test_client_reads_its_changes_from_another_process(processes: list[HttpClient]) -> None:
    def run(number: int) -> None:
        client = WritingClient(processes, number)
        for _ in range(ROUNDS):
            client.live_once()

    with ThreadPoolExecutor(CLIENTS) as pool:
        for result in [pool.submit(run, number) for number in range(CLIENTS)]:
            result.result()
