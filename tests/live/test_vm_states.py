"""What each action does in each state of a VM, as Nova really answers."""

from functools import partial
from typing import Any

import pytest

from tests.support.live.api_script import ApiScript, wait_for

ACTIONS = ("start", "stop", "restart", "pause", "resume")
ALLOWED = {
    "STOPPED": ["start", "delete"],
    "RUNNING": ["stop", "restart", "pause", "delete"],
    "PAUSED": ["stop", "resume", "delete"],
}
WORDS = {"STOPPED": "SHUTOFF", "RUNNING": "ACTIVE", "PAUSED": "PAUSED"}
WALK = (
    ("start", None, "RUNNING", "starting"),
    ("restart", None, "RUNNING", "restarting"),
    ("restart", {"type": "soft"}, "RUNNING", "restarting"),
    ("restart", {"type": "hard"}, "RUNNING", "restarting"),
    ("pause", None, "PAUSED", "pausing"),
    ("resume", None, "RUNNING", "resuming"),
    ("pause", None, "PAUSED", "pausing"),
    ("stop", None, "STOPPED", "stopping"),
)

pytestmark = pytest.mark.live


def test_the_whole_life_of_a_vm(script: ApiScript) -> None:
    wanted = script.create_body(metadata={"env": "test", "devcloud_delay": "2"})
    made = script.call("POST", "/vms", wanted)
    assert made.status == 202
    vm = made.body
    script.created_vm_ids.append(vm["id"])
    path = f"/vms/{vm['id']}"
    assert made.headers["Location"] == f"/api/v1{path}"
    assert made.headers["Retry-After"] == "1"
    building = {"status": "BUILDING", "task": "creating", "allowed_actions": ["delete"]}
    assert vm | building | {"ip_address": None, "addresses": [], "fault": None} == vm
    assert {key: vm[key] for key in wanted} == wanted
    for action in ACTIONS:
        refusal = script.assert_refused(409, "task_in_progress", "POST", f"{path}/{action}")
        assert refusal["current_status"] == "BUILDING"
        assert (refusal["task"], refusal["allowed_actions"]) == ("creating", ["delete"])
    script.assert_refused(409, "task_in_progress", "PATCH", path, {"name": script.vm_name("x")})
    assert script.get(f"{path}/status")["status"] == "BUILDING"
    operation = script.wait_until_finished(made)
    assert (operation["action"], operation["status"]) == ("create", "succeeded")
    assert (operation["vm_id"], operation["error"]) == (vm["id"], None)
    assert operation["request_id"] == made.headers["X-Request-ID"]
    seen = check_state(script, vm["id"], "STOPPED")
    checked = {"STOPPED"}
    for action, body, status, task in WALK:
        response = script.request_action(vm["id"], action, body)
        # on a quick cloud all may be over before we have answered
        assert (response.status, response.body["task"]) in ((202, task), (200, None)), response
        assert ("Retry-After" in response.headers) == (response.status == 202)
        operation = script.wait_until_finished(response)
        assert (operation["action"], operation["status"]) == (action, "succeeded")
        look = (
            script.wait_until_settled
            if status in checked
            else partial(check_state, script, status=status)
        )
        settled = look(vm["id"])
        checked.add(status)
        assert (settled["status"], settled["backend_status"]) == (status, WORDS[status])
        assert settled["allowed_actions"] == ALLOWED[status]
        assert settled["created_at"] == seen["created_at"]
        assert settled["updated_at"] >= seen["updated_at"]
        assert settled["ip_address"] == settled["addresses"][0]["ip"]
        seen = settled
    check_deletion(script, vm["id"])


def check_state(script: ApiScript, vm_id: str, status: str) -> Any:
    """See that a VM is in a status, that it can be changed, and that nothing else is allowed."""
    vm = script.wait_until_settled(vm_id)
    assert (vm["status"], vm["backend_status"]) == (status, WORDS[status])
    assert vm["allowed_actions"] == ALLOWED[status]
    for action in ACTIONS:
        if action not in ALLOWED[status]:
            refusal = script.assert_refused(409, "invalid_state", "POST", f"/vms/{vm_id}/{action}")
            assert (refusal["current_status"], refusal["task"]) == (status, None)
            assert refusal["allowed_actions"] == ALLOWED[status]
    changed = script.call("PATCH", f"/vms/{vm_id}", {"metadata": {"env": None, "seen": status}})
    assert (changed.status, changed.body["status"], changed.body["task"]) == (200, status, None)
    now = script.get_vm(vm_id)
    assert now["metadata"] == {"seen": status, "devcloud_delay": "2"}
    assert now | {"metadata": {}, "updated_at": ""} == vm | {"metadata": {}, "updated_at": ""}
    return now


def check_deletion(script: ApiScript, vm_id: str) -> None:
    """See that a VM can be deleted and that nothing can be done with it then."""
    path = f"/vms/{vm_id}"
    response = script.call("DELETE", path)
    assert response.status in (202, 204)
    if response.status == 202:
        assert (response.body["task"], response.body["allowed_actions"]) == ("deleting", ["delete"])
    operation = script.wait_until_finished(response)
    assert (operation["action"], operation["status"]) == ("delete", "succeeded")
    for action in ACTIONS:
        script.assert_refused(404, "vm_not_found", "POST", f"{path}/{action}")
    for method, below in (("GET", ""), ("GET", "/status"), ("GET", "/console"), ("DELETE", "")):
        script.assert_refused(404, "vm_not_found", method, path + below)
    script.assert_refused(404, "vm_not_found", "PATCH", path, {"metadata": {"env": "prod"}})


def test_one_that_never_ran(script: ApiScript, devcloud: str) -> None:
    made = script.request_vm(start=True, metadata={"devcloud_fail": "spawn"})
    assert made.status == 202
    assert script.wait_until_finished(made)["error"]["code"] == "build_failed"
    check_error(script, made.body["id"], "build_failed", ["delete"])
    refusal = script.assert_refused(
        409, "invalid_state", "POST", f"/vms/{made.body['id']}/restart", {"type": "hard"}
    )
    assert "never ran" in refusal["detail"]


def test_one_in_error_that_ran(script: ApiScript, admin: Any) -> None:
    vm_id = script.create_running_vm()
    admin.compute.reset_server_state(vm_id, "error")
    script.wait_until_shown(vm_id, status="ERROR")
    check_error(script, vm_id, "backend_error", ["restart", "delete"])
    path = f"/vms/{vm_id}"
    refusal = script.assert_refused(
        409, "invalid_state", "POST", f"{path}/restart", {"type": "soft"}
    )
    assert "only a restart of type hard" in refusal["detail"]
    healed = script.perform_action(vm_id, "restart")
    assert (healed["status"], healed["fault"]) == ("RUNNING", None)
    # one that is deleted while something else is under way
    stopping = script.request_action(vm_id, "stop")
    deleting = script.call("DELETE", path)
    assert deleting.status in (202, 204)
    assert script.wait_until_finished(stopping)["status"] in ("superseded", "succeeded")
    assert script.wait_until_finished(deleting)["status"] == "succeeded"
    script.wait_until_deleted(vm_id)


def check_error(script: ApiScript, vm_id: str, fault: str, allowed: list[str]) -> None:
    """See what can be done with a VM in ERROR."""
    vm = script.get_vm(vm_id)
    assert (vm["status"], vm["task"], vm["backend_status"]) == ("ERROR", None, "ERROR")
    assert vm["allowed_actions"] == allowed
    assert vm["fault"]["code"] == fault
    assert vm["fault"]["message"]
    assert vm["fault"]["hint"]
    for action in {*ACTIONS} - {*allowed}:
        refusal = script.assert_refused(409, "invalid_state", "POST", f"/vms/{vm_id}/{action}")
        assert (refusal["current_status"], refusal["allowed_actions"]) == ("ERROR", allowed)
    body = {"metadata": {"env": "test"}}
    script.assert_refused(409, "invalid_state", "PATCH", f"/vms/{vm_id}", body)


def test_changes(script: ApiScript, owner: Any) -> None:
    vm_id = script.create_vm(metadata={"env": "test", "tier": "é"})
    path, new = f"/vms/{vm_id}", script.vm_name("new")
    owner.compute.set_server_metadata(vm_id, outside="yes", **{"vmapi.own": "hidden"})
    seen = script.get_vm(vm_id, refresh=True)["metadata"]
    assert seen == {"env": "test", "tier": "é", "outside": "yes"}
    body = {"name": new, "metadata": {"env": None, "absent": None, "tier": "2"}}
    changed = script.call("PATCH", path, body)
    assert (changed.status, changed.body["name"]) == (200, new)
    assert changed.body["metadata"] == {"tier": "2", "outside": "yes"}
    server = owner.compute.get_server(vm_id)
    assert (server.name, server.metadata["vmapi.own"]) == (new, "hidden")
    # the old name is free again, the new one is taken, whatever its case says
    for name, total in ((script.vm_name("vm"), 0), (new, 1), (new.upper(), 0)):
        assert script.get(f"/vms?name={name}")["total"] == total
    taken = script.assert_refused(409, "name_taken", "POST", "/vms", script.create_body("new"))
    assert taken["vm_id"] == vm_id
    same = script.call("PATCH", path, {"name": new})
    assert (same.status, same.body["name"]) == (200, new)
    too_many = {"metadata": {f"k{n}": "" for n in range(127)}}
    script.assert_refused(422, "validation_error", "PATCH", path, too_many)
    assert wait_for(lambda: script.get_vm(vm_id))["metadata"] == {"tier": "2", "outside": "yes"}
