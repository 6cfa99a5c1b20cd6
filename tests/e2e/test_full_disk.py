"""A full disk under SQLite and under the log: reads go on, changes are 503, nothing is lost."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.http_client import HttpResponse, wait_until
from tests.support.processes import Gunicorn
from tests.support.small_disk import SmallDisk, mount_small_disk

pytestmark = pytest.mark.disruption

CREATE_BODY = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"}
NO_SPACE = "vmapi's database has no space left."


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with mount_small_disk(tmp_path / "disk") as disk:
        yield disk


@pytest.fixture
def start(gunicorn: Callable[..., Gunicorn], disk: SmallDisk) -> Iterator[Callable[..., Gunicorn]]:
    """Start a server with its database on the small disk; stop it before the disk goes."""
    servers: list[Gunicorn] = []

    def start(**settings: str) -> Gunicorn:
        url = f"sqlite:///{disk.folder}/data/vmapi.sqlite3"
        servers.append(gunicorn(VMAPI_DATABASE_URL=url, **settings))
        servers[0].start().wait_for("/readyz")
        return servers[0]

    yield start
    for server in servers:
        server.stop()


def change(server: Gunicorn, method: str, path: str, key: str, body: object = None) -> HttpResponse:
    headers = {"Idempotency-Key": key, "Prefer": "wait=10"}
    return server.call(method, f"/api/v1{path}", body, headers=headers)


def fill_until_changes_fail(server: Gunicorn, disk: SmallDisk, vm_id: str) -> None:
    """Fill the disk, and the free pages of the database with changes of a VM."""
    disk.fill()

    def is_refused() -> bool:
        key = uuid.uuid4().hex
        body = {"metadata": {"key": key}}
        return change(server, "PATCH", f"/vms/{vm_id}", key, body).status == 503

    wait_until("no space", is_refused)


def test_full_disk_of_the_database_refuses_changes_until_it_has_room(
    start: Callable[..., Gunicorn], disk: SmallDisk
) -> None:
    server = start()
    vm = change(server, "POST", "/vms", "1", CREATE_BODY).json
    fill_until_changes_fail(server, disk, vm["id"])
    for method, path, body in (
        ("POST", "/vms", {**CREATE_BODY, "name": "web-2"}),
        ("POST", f"/vms/{vm['id']}/start", None),
        ("DELETE", f"/vms/{vm['id']}", None),
    ):
        response = change(server, method, path, f"{method} {path}", body)
        problem = response.check_problem(503, "store_unavailable")
        assert (problem["detail"], response.headers["Retry-After"]) == (NO_SPACE, "5")
    for path in ("/vms", f"/vms/{vm['id']}", "/operations", "/flavors"):
        assert server.call("GET", f"/api/v1{path}").status == 200
    wait_until("not ready", lambda: server.call("GET", "/readyz").status == 503)
    assert server.call("GET", "/readyz").json["dependencies"]["store"] == "store_unavailable"
    assert server.call("GET", "/livez").status == 200
    disk.free()
    wait_until("ready", lambda: server.call("GET", "/readyz").status == 200)
    assert change(server, "POST", f"/vms/{vm['id']}/start", "2").json["status"] == "RUNNING"
    assert change(server, "POST", "/vms", "3", {**CREATE_BODY, "name": "web-2"}).status == 201
    names = [item["name"] for item in server.call.get_json("/api/v1/vms?sort=name")["items"]]
    assert names == ["web-1", "web-2"]
    assert server.wait_for_line(message="database unavailable")["reason"]
    server.wait_for_line(message="database available again")


def test_operation_in_progress_survives_a_full_disk(
    start: Callable[..., Gunicorn], disk: SmallDisk
) -> None:
    server = start(VMAPI_MEMORY_LATENCY="1")
    vm = change(server, "POST", "/vms", "1", CREATE_BODY).json
    other = change(server, "POST", "/vms", "2", {**CREATE_BODY, "name": "web-2"}).json
    response = server.call("POST", f"/api/v1/vms/{vm['id']}/start")
    assert response.status == 202
    fill_until_changes_fail(server, disk, other["id"])
    wait_until("not ready", lambda: server.call("GET", "/readyz").status == 503)
    disk.free()
    path = f"/api/v1/operations/{response.headers['Operation-Location'].rpartition('/')[2]}"
    wait_until("success", lambda: server.call("GET", path).json["status"] == "succeeded")


def test_full_disk_of_the_log_delays_no_request_and_breaks_no_line(
    gunicorn: Callable[..., Gunicorn], disk: SmallDisk
) -> None:
    server = gunicorn(VMAPI_RATE_READS="off", VMAPI_RATE_ADDRESS="off")
    server.log = disk.folder / "gunicorn.log"
    server.start().wait_for("/readyz")
    disk.fill()
    for _ in range(100):
        assert server.call("GET", "/api/v1/vms").status == 200
    assert change(server, "POST", "/vms", "1", CREATE_BODY).status == 201
    disk.free()
    assert server.call("GET", "/api/v1/flavors").status == 200
    # `log_lines` fails for a line that is no JSON
    assert server.wait_for_line(message="log lines dropped", level="warning")["lines"] > 50
    server.wait_for_line(endpoint="GET /api/v1/flavors")
    server.stop()
