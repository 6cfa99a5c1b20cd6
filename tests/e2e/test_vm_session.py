"""The whole life of a VM, as a script lives through it, on a cloud that takes its time."""

import pytest

from tests.support.http_client import HttpClient, HttpResponse, wait_until

VMS = "/api/v1/vms"
LIFE = [
    ("start", "starting", "RUNNING"),
    ("pause", "pausing", "PAUSED"),
    ("resume", "resuming", "RUNNING"),
    ("restart", "restarting", "RUNNING"),
    ("stop", "stopping", "STOPPED"),
]


def settle(call: HttpClient, answer: HttpResponse, action: str) -> str:
    """Follow a 202 as the contract says, and return the VM's id."""
    assert answer.status == 202
    assert answer.headers["Retry-After"] == "1"
    where = answer.headers["Operation-Location"]
    assert call.get_json(where)["action"] == action
    operation = wait_until(action, lambda: _finished(call, where))
    assert (operation["status"], operation["error"]) == ("succeeded", None)
    assert operation["request_id"] == answer.headers["X-Request-ID"]
    assert operation["vm_id"] == answer.json["id"]
    return str(answer.json["id"])


def _finished(call: HttpClient, where: str) -> dict[str, object] | None:
    operation = call.get_json(where)
    return operation if operation["finished_at"] else None


def test_create_start_pause_resume_restart_stop_delete(call: HttpClient) -> None:
    made = call("POST", VMS, {"name": "session-1", "flavor": "m1.small", "image": "ubuntu-22.04"})
    assert (made.json["status"], made.json["task"]) == ("BUILDING", "creating")
    assert made.headers["Location"] == f"{VMS}/{made.json['id']}"
    vm = f"{VMS}/{settle(call, made, 'create')}"
    assert call.get_json(f"{vm}/status")["status"] == "STOPPED"
    for action, task, status in LIFE:
        begun = call("POST", f"{vm}/{action}")
        assert (begun.json["task"], begun.json["allowed_actions"]) == (task, ["delete"])
        settle(call, begun, action)
        after = call.get_json(f"{vm}/status")
        assert (after["status"], after["task"]) == (status, None)
    settle(call, call("DELETE", vm), "delete")
    call("GET", vm).check_problem(404, "vm_not_found")


def test_second_change_waits_for_the_first(call: HttpClient) -> None:
    made = call("POST", VMS, {"name": "session-2", "flavor": "m1.tiny", "image": "cirros"})
    vm = f"{VMS}/{made.json['id']}"
    problem = call("POST", f"{vm}/start").check_problem(409, "task_in_progress")
    assert problem["allowed_actions"] == ["delete"]
    settle(call, call("DELETE", vm), "delete")
    assert call.get_json(made.headers["Operation-Location"])["status"] == "superseded"


@pytest.mark.parametrize("accepted", ["gzip", "identity"])
def test_list_is_compressed_for_who_wants_it(call: HttpClient, accepted: str) -> None:
    answer = call("GET", "/openapi.json", headers={"Accept-Encoding": accepted})
    assert answer.status == 200
    assert answer.headers.get("Content-Encoding", "identity") == accepted
    assert answer.headers["Vary"] == "Accept-Encoding"
