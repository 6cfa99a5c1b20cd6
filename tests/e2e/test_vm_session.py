"""The lifecycle of a VM over HTTP, on an in-memory cloud with latency."""

from collections.abc import Callable

import pytest

from tests.support.http_client import HttpClient, HttpResponse, wait_until
from tests.support.processes import Gunicorn

VMS = "/api/v1/vms"
ACTIONS = [
    ("start", "starting", "RUNNING"),
    ("pause", "pausing", "PAUSED"),
    ("resume", "resuming", "RUNNING"),
    ("restart", "restarting", "RUNNING"),
    ("stop", "stopping", "STOPPED"),
]


def wait_for_operation(call: HttpClient, answer: HttpResponse, action: str) -> str:
    """Follow the operation of a 202 response to its end; return the id of the VM."""
    assert answer.status == 202
    assert answer.headers["Retry-After"] == "1"
    operation_url = answer.headers["Operation-Location"]
    assert call.get_json(operation_url)["action"] == action
    operation = wait_until(action, lambda: _finished(call, operation_url))
    assert (operation["status"], operation["error"]) == ("succeeded", None)
    assert operation["request_id"] == answer.headers["X-Request-ID"]
    assert operation["vm_id"] == answer.json["id"]
    return str(answer.json["id"])


def _finished(call: HttpClient, operation_url: str) -> dict[str, object] | None:
    operation = call.get_json(operation_url)
    return operation if operation["finished_at"] else None


def test_create_start_pause_resume_restart_stop_delete(call: HttpClient) -> None:
    created = call(
        "POST", VMS, {"name": "session-1", "flavor": "m1.small", "image": "ubuntu-22.04"}
    )
    assert (created.json["status"], created.json["task"]) == ("BUILDING", "creating")
    assert created.headers["Location"] == f"{VMS}/{created.json['id']}"
    vm = f"{VMS}/{wait_for_operation(call, created, 'create')}"
    assert call.get_json(f"{vm}/status")["status"] == "STOPPED"
    for action, task, status in ACTIONS:
        started = call("POST", f"{vm}/{action}")
        assert (started.json["task"], started.json["allowed_actions"]) == (task, ["delete"])
        wait_for_operation(call, started, action)
        settled = call.get_json(f"{vm}/status")
        assert (settled["status"], settled["task"]) == (status, None)
    wait_for_operation(call, call("DELETE", vm), "delete")
    call("GET", vm).check_problem(404, "vm_not_found")


def test_second_change_is_rejected_until_the_first_finishes(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    # a create that ends only by the delete
    server = gunicorn(VMAPI_MEMORY_LATENCY="create=3600,delete=0.15").start()
    server.wait_for("/readyz")
    call = server.call
    created = call("POST", VMS, {"name": "session-2", "flavor": "m1.tiny", "image": "cirros"})
    vm = f"{VMS}/{created.json['id']}"
    problem = call("POST", f"{vm}/start").check_problem(409, "task_in_progress")
    assert problem["allowed_actions"] == ["delete"]
    wait_for_operation(call, call("DELETE", vm), "delete")
    assert call.get_json(created.headers["Operation-Location"])["status"] == "superseded"


@pytest.mark.parametrize("accepted", ["gzip", "identity"])
def test_response_is_compressed_on_request(call: HttpClient, accepted: str) -> None:
    answer = call("GET", "/openapi.json", headers={"Accept-Encoding": accepted})
    assert answer.status == 200
    assert answer.headers.get("Content-Encoding", "identity") == accepted
    assert answer.headers["Vary"] == "Accept-Encoding"
