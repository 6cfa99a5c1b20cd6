"""A wall clock that jumps while a server runs: changes, keys, cursors and events go on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.http_client import HttpResponse, wait_until
from tests.support.kill_test import build_settings
from tests.support.processes import Gunicorn
from tests.support.stateful_nova import run_stateful_nova

pytestmark = pytest.mark.disruption

NEW_VM = {"flavor": "m1.tiny", "image": "cirros"}
DAY_SECONDS = 86_400


def change(server: Gunicorn, method: str, path: str, key: str, body: object = None) -> HttpResponse:
    headers = {"Idempotency-Key": key, "Prefer": "wait=20"}
    return server.call(method, f"/api/v1{path}", body, headers=headers)


def create(server: Gunicorn, name: str) -> HttpResponse:
    return change(server, "POST", "/vms", name, {"name": name, **NEW_VM})


def set_shift(file: Path, seconds: int) -> None:
    """Move the wall clock of the server, which may read the file at any time."""
    new_file = file.with_suffix(".new")
    new_file.write_text(str(seconds))
    new_file.replace(file)


def read_events(server: Gunicorn, last_id: str) -> list[str]:
    """Return the ids of the events after an id."""
    headers = {"Last-Event-ID": last_id}
    stream = server.call("GET", "/api/v1/events?wait=1", headers=headers).body.decode()
    return [line[4:] for line in stream.splitlines() if line.startswith("id: ")]


def check_keys(server: Gunicorn, stopped_id: str, last_id: str, *, is_day_later: bool) -> None:
    """Use a new key twice, and a key of the time before, which a day ends."""
    for _ in range(2):
        started = change(server, "POST", f"/vms/{stopped_id}/start", "start")
        assert (started.status, started.json["status"]) == (200, "RUNNING")
    again = create(server, "web-3")
    if is_day_later:
        assert (again.status, again.json["code"]) == (409, "name_taken")
    else:
        assert (again.json["id"], again.headers["Idempotent-Replayed"]) == (last_id, "true")


def check_old_positions(server: Gunicorn, next_page: str, event_id: str) -> None:
    """Use a cursor and an event id of the time before."""
    older = server.call.get_json(next_page)["items"]
    assert {operation["action"] for operation in older} == {"create"}
    assert read_events(server, event_id)


@pytest.mark.parametrize("offset", [3600, -3600, DAY_SECONDS, -DAY_SECONDS])
def test_server_goes_on_after_a_jump_of_its_clock(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path, offset: int
) -> None:
    shift = tmp_path / "shift"
    set_shift(shift, 0)
    with run_stateful_nova(loses_responses=False) as (cloud_url, nova):
        server = gunicorn(**build_settings(cloud_url, tmp_path), SHIFT_FILE=str(shift))
        server.start(app="tests.support.shifted_app:app").wait_for("/readyz")
        vms = [create(server, f"web-{number}").json for number in (1, 2, 3)]
        page = server.call.get_json("/api/v1/operations?page_size=1")
        event_id = read_events(server, "0")[-1]
        running = server.call("POST", f"/api/v1/vms/{vms[0]['id']}/start")
        assert running.status == 202
        set_shift(shift, offset)
        # an operation in progress
        path = f"/api/v1/operations/{running.headers['Operation-Location'].rpartition('/')[2]}"
        wait_until("success", lambda: server.call.get_json(path)["status"] == "succeeded")
        check_keys(server, vms[1]["id"], vms[2]["id"], is_day_later=offset >= DAY_SECONDS)
        check_old_positions(server, page["next"], event_id)
        # the reads follow the cloud, and the next jump back costs nothing
        listed = server.call.get_json("/api/v1/vms?sort=name")["items"]
        assert [vm["status"] for vm in listed] == ["RUNNING", "RUNNING", "STOPPED"]
        set_shift(shift, 0)
        for vm in vms:
            assert change(server, "DELETE", f"/vms/{vm['id']}", vm["id"]).status == 204
        assert server.call.get_json("/api/v1/vms")["items"] == []
        assert nova.creates == {"web-1": 1, "web-2": 1, "web-3": 1}
        assert not nova.list_live()
