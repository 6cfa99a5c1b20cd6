"""Many clients at once, in front of gunicorn and the real cloud: one of them makes the VM."""

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest
import requests

from tests.support.live.api_script import BASE, RUN_LABEL, ApiScript
from tests.support.live.gunicorn_server import GunicornServer, serve_gunicorn
from vmapi.settings.settings import Settings

CLIENTS = 50

pytestmark = pytest.mark.live


@pytest.fixture
def served(cloud_settings: Settings, tmp_path: Path) -> Iterator[GunicornServer]:
    with serve_gunicorn(tmp_path, VMAPI_WORKERS="2", VMAPI_THREADS="8") as server:
        yield server


@pytest.fixture
def racer(served: GunicornServer) -> Iterator[ApiScript]:
    """A script whose VMs are gone after the test."""
    script = ApiScript(served.send, f"{RUN_LABEL}-{uuid4().hex[:4]}")
    yield script
    script.delete_created_vms()


def at_once(served: GunicornServer, body: Any, headers: dict[str, str]) -> list[requests.Response]:
    """Send the same create from many clients at the same time; who is told to repeat it does."""
    start = Barrier(CLIENTS)

    def create(_: int) -> requests.Response:
        start.wait()
        how = {**headers, "Connection": "close"}
        while True:
            response = requests.post(f"{served.url}{BASE}/vms", json=body, headers=how, timeout=90)
            if response.json().get("code") != "idempotency_in_progress":
                return response
            time.sleep(int(response.headers["Retry-After"]))

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(create, range(CLIENTS)))


def named(owner: Any, name: str) -> list[str]:
    """Return the servers of a name that Nova has."""
    return [server.id for server in owner.compute.servers(name=name) if server.name == name]


def test_one_name(racer: ApiScript, served: GunicornServer, owner: Any) -> None:
    body = racer.create_body("name")
    responses = at_once(served, body, {})
    codes = Counter((each.status_code, each.json().get("code")) for each in responses)
    assert codes == {(202, None): 1, (409, "name_taken"): CLIENTS - 1}
    (made,) = (each.json()["id"] for each in responses if each.status_code == 202)
    for each in responses:
        if each.status_code == 409:
            assert each.json().get("vm_id", made) == made
            assert {"vm_id", "operation"} & set(each.json())
    assert named(owner, body["name"]) == [made]
    racer.wait_until_settled(made)


def test_one_key(racer: ApiScript, served: GunicornServer, owner: Any) -> None:
    body = racer.create_body("key")
    key = {"Idempotency-Key": str(uuid4()), "Prefer": "wait=30"}
    responses = at_once(served, body, key)
    assert {each.status_code for each in responses} <= {201, 202}
    (made,) = {each.json()["id"] for each in responses}
    assert len({each.headers["Operation-Location"] for each in responses}) == 1
    replayed = [each for each in responses if "Idempotent-Replayed" in each.headers]
    assert len(replayed) == CLIENTS - 1
    assert named(owner, body["name"]) == [made]
    assert racer.wait_until_settled(made)["status"] == "STOPPED"
    (last,) = {(each.status_code, each.json()["id"]) for each in at_once(served, body, key)}
    assert last == (201, made)


def test_a_delete_during_a_create(racer: ApiScript, owner: Any) -> None:
    made = racer.request_vm("create")
    operation = made.headers["Operation-Location"]
    deleted = racer.call("DELETE", f"/vms/{made.body['id']}")
    assert deleted.status in (202, 204)
    assert racer.get(operation)["status"] == "superseded"
    racer.wait_until_deleted(made.body["id"])
    assert racer.wait_until_finished(deleted)["status"] == "succeeded"
    assert named(owner, racer.vm_name("create")) == []


def test_a_stop_during_a_start(racer: ApiScript) -> None:
    vm_id = racer.create_vm("start")
    started = racer.request_action(vm_id, "start")
    assert started.status == 202
    busy = racer.assert_refused(409, "task_in_progress", "POST", f"/vms/{vm_id}/stop")
    assert (busy["task"], busy["allowed_actions"]) == ("starting", ["delete"])
    assert racer.wait_until_finished(started)["status"] == "succeeded"
    assert racer.perform_action(vm_id, "stop")["status"] == "STOPPED"
