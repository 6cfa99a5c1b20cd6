"""Concurrent clients of gunicorn and a real cloud: one of them creates the VM."""

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
REPEATED = ("idempotency_in_progress", "backend_unavailable")
MAX_REPEAT_SECONDS = 90.0

pytestmark = pytest.mark.live


@pytest.fixture
def served(cloud_settings: Settings, tmp_path: Path) -> Iterator[GunicornServer]:
    with serve_gunicorn(tmp_path, VMAPI_WORKERS="2", VMAPI_THREADS="8") as server:
        yield server


@pytest.fixture
def script(served: GunicornServer) -> Iterator[ApiScript]:
    """Yield a script; delete its VMs after the test."""
    script = ApiScript(served.send, f"{RUN_LABEL}-{uuid4().hex[:4]}")
    yield script
    script.delete_created_vms()


def create_concurrently(
    served: GunicornServer, body: Any, headers: dict[str, str]
) -> list[requests.Response]:
    """Send the same create from many clients at once.

    A client repeats it while its key is in progress, and if a busy cloud let vmapi send nothing.
    """
    start = Barrier(CLIENTS)

    def create(_: int) -> requests.Response:
        start.wait()
        all_headers = {**headers, "Connection": "close"}
        end = time.monotonic() + MAX_REPEAT_SECONDS
        while True:
            response = requests.post(
                f"{served.url}{BASE}/vms", json=body, headers=all_headers, timeout=90
            )
            if response.json().get("code") not in REPEATED or time.monotonic() > end:
                return response
            time.sleep(int(response.headers["Retry-After"]))

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(create, range(CLIENTS)))


def list_servers_named(owner: Any, name: str) -> list[str]:
    """Return the ids of the servers with a name in Nova."""
    return [server.id for server in owner.compute.servers(name=name) if server.name == name]


def test_concurrent_creates_with_one_name_make_one_vm(
    script: ApiScript, served: GunicornServer, owner: Any
) -> None:
    body = script.create_body("name")
    responses = create_concurrently(served, body, {})
    codes = Counter((response.status_code, response.json().get("code")) for response in responses)
    assert codes == {(202, None): 1, (409, "name_taken"): CLIENTS - 1}
    (vm_id,) = (response.json()["id"] for response in responses if response.status_code == 202)
    for response in responses:
        if response.status_code == 409:
            assert response.json().get("vm_id", vm_id) == vm_id
            assert {"vm_id", "operation"} & set(response.json())
    assert list_servers_named(owner, body["name"]) == [vm_id]
    script.wait_until_settled(vm_id)


def test_concurrent_creates_with_one_key_make_one_vm(
    script: ApiScript, served: GunicornServer, owner: Any
) -> None:
    body = script.create_body("key")
    key = {"Idempotency-Key": str(uuid4()), "Prefer": "wait=30"}
    responses = create_concurrently(served, body, key)
    assert {response.status_code for response in responses} <= {201, 202}
    (vm_id,) = {response.json()["id"] for response in responses}
    assert len({response.headers["Operation-Location"] for response in responses}) == 1
    replayed = [response for response in responses if "Idempotent-Replayed" in response.headers]
    assert len(replayed) == CLIENTS - 1
    assert list_servers_named(owner, body["name"]) == [vm_id]
    assert script.wait_until_settled(vm_id)["status"] == "STOPPED"
    (last,) = {
        (response.status_code, response.json()["id"])
        for response in create_concurrently(served, body, key)
    }
    assert last == (201, vm_id)


def test_delete_supersedes_a_create(script: ApiScript, owner: Any) -> None:
    created = script.request_vm("create")
    operation = created.headers["Operation-Location"]
    deleted = script.call("DELETE", f"/vms/{created.body['id']}")
    assert deleted.status in (202, 204)
    assert script.get(operation)["status"] == "superseded"
    script.wait_until_deleted(created.body["id"])
    assert script.wait_until_finished(deleted)["status"] == "succeeded"
    assert list_servers_named(owner, script.vm_name("create")) == []


def test_stop_during_a_start_is_refused(script: ApiScript) -> None:
    vm_id = script.create_vm("start")
    started = script.request_action(vm_id, "start")
    assert started.status == 202
    refusal = script.assert_refused(409, "task_in_progress", "POST", f"/vms/{vm_id}/stop")
    assert (refusal["task"], refusal["allowed_actions"]) == ("starting", ["delete"])
    assert script.wait_until_finished(started)["status"] == "succeeded"
    assert script.perform_action(vm_id, "stop")["status"] == "STOPPED"
