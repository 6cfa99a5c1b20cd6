"""The result of each action in each state of a VM, on a real Nova."""

from typing import Any

import pytest

from tests.support.live.api_script import ApiScript, wait_for

ACTIONS = ("start", "stop", "restart", "pause", "resume")
ALLOWED = {
    "STOPPED": ["start", "delete"],
    "RUNNING": ["stop", "restart", "pause", "delete"],
    "PAUSED": ["stop", "resume", "delete"],
}
NOVA_STATUSES = {"STOPPED": "SHUTOFF", "RUNNING": "ACTIVE", "PAUSED": "PAUSED"}
ACTION_SEQUENCE = (
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


def assert_settled(vm: dict[str, Any], status: str) -> None:
    assert (vm["status"], vm["backend_status"]) == (status, NOVA_STATUSES[status])
    assert vm["allowed_actions"] == ALLOWED[status]
    assert vm["ip_address"] == vm["addresses"][0]["ip"]


def assert_creating(script: ApiScript, created: Any, create_body: dict[str, Any]) -> None:
    """Check the response to a create, and that a VM in creation refuses all changes."""
    vm, path = created.body, f"/vms/{created.body['id']}"
    assert created.headers["Location"] == f"/api/v1{path}"
    assert created.headers["Retry-After"] == "1"
    building = {"status": "BUILDING", "task": "creating", "allowed_actions": ["delete"]}
    assert vm | building | {"ip_address": None, "addresses": [], "fault": None} == vm
    assert {key: vm[key] for key in create_body} == create_body
    for action in ACTIONS:
        refusal = script.assert_refused(409, "task_in_progress", "POST", f"{path}/{action}")
        assert refusal["current_status"] == "BUILDING"
        assert (refusal["task"], refusal["allowed_actions"]) == ("creating", ["delete"])
    script.assert_refused(409, "task_in_progress", "PATCH", path, {"name": script.vm_name("x")})
    assert script.get(f"{path}/status")["status"] == "BUILDING"


def assert_created(script: ApiScript, response: Any) -> None:
    operation = script.wait_until_finished(response)
    assert (operation["action"], operation["status"]) == ("create", "succeeded")
    assert (operation["vm_id"], operation["error"]) == (response.body["id"], None)
    assert operation["request_id"] == response.headers["X-Request-ID"]


def test_actions_of_a_vm_in_every_state(script: ApiScript) -> None:
    create_body = script.create_body(metadata={"env": "test", "devcloud_delay": "2"})
    created = script.call("POST", "/vms", create_body)
    assert created.status == 202
    vm = created.body
    script.created_vm_ids.append(vm["id"])
    assert_creating(script, created, create_body)
    assert_created(script, created)
    previous = assert_allowed_actions(script, vm["id"], "STOPPED")
    checked = {"STOPPED"}
    for action, body, status, task in ACTION_SEQUENCE:
        response = script.request_action(vm["id"], action, body)
        # on a fast cloud the action may finish before the response
        assert (response.status, response.body["task"]) in ((202, task), (200, None)), response
        assert ("Retry-After" in response.headers) == (response.status == 202)
        operation = script.wait_until_finished(response)
        assert (operation["action"], operation["status"]) == (action, "succeeded")
        if status in checked:
            settled = script.wait_until_settled(vm["id"])
        else:
            settled = assert_allowed_actions(script, vm["id"], status)
        checked.add(status)
        assert_settled(settled, status)
        assert settled["created_at"] == previous["created_at"]
        assert settled["updated_at"] >= previous["updated_at"]
        previous = settled
    assert_deletion(script, vm["id"])


def assert_allowed_actions(script: ApiScript, vm_id: str, status: str) -> Any:
    """Assert the status of a VM, that a patch works, and that other actions are refused."""
    vm = script.wait_until_settled(vm_id)
    assert (vm["status"], vm["backend_status"]) == (status, NOVA_STATUSES[status])
    assert vm["allowed_actions"] == ALLOWED[status]
    for action in ACTIONS:
        if action not in ALLOWED[status]:
            refusal = script.assert_refused(409, "invalid_state", "POST", f"/vms/{vm_id}/{action}")
            assert (refusal["current_status"], refusal["task"]) == (status, None)
            assert refusal["allowed_actions"] == ALLOWED[status]
    changed = script.call("PATCH", f"/vms/{vm_id}", {"metadata": {"env": None, "seen": status}})
    assert (changed.status, changed.body["status"], changed.body["task"]) == (200, status, None)
    current = script.get_vm(vm_id)
    assert current["metadata"] == {"seen": status, "devcloud_delay": "2"}
    assert current | {"metadata": {}, "updated_at": ""} == vm | {"metadata": {}, "updated_at": ""}
    return current


def assert_deletion(script: ApiScript, vm_id: str) -> None:
    """Delete a VM, and assert that every request is 404 afterwards."""
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


def test_vm_with_a_failed_build_allows_only_delete(script: ApiScript, devcloud: str) -> None:
    created = script.request_vm(start=True, metadata={"devcloud_fail": "spawn"})
    assert created.status == 202
    assert script.wait_until_finished(created)["error"]["code"] == "build_failed"
    assert_error_state(script, created.body["id"], "build_failed", ["delete"])
    refusal = script.assert_refused(
        409, "invalid_state", "POST", f"/vms/{created.body['id']}/restart", {"type": "hard"}
    )
    assert "never ran" in refusal["detail"]


def test_vm_in_error_that_ran_allows_restart_and_delete(script: ApiScript, admin: Any) -> None:
    vm_id = script.create_running_vm()
    admin.compute.reset_server_state(vm_id, "error")
    script.wait_until_shown(vm_id, status="ERROR")
    assert_error_state(script, vm_id, "backend_error", ["restart", "delete"])
    path = f"/vms/{vm_id}"
    refusal = script.assert_refused(
        409, "invalid_state", "POST", f"{path}/restart", {"type": "soft"}
    )
    assert "only a restart of type hard" in refusal["detail"]
    recovered = script.perform_action(vm_id, "restart")
    assert (recovered["status"], recovered["fault"]) == ("RUNNING", None)
    # a delete during another action
    stopping = script.request_action(vm_id, "stop")
    deleting = script.call("DELETE", path)
    assert deleting.status in (202, 204)
    assert script.wait_until_finished(stopping)["status"] in ("superseded", "succeeded")
    assert script.wait_until_finished(deleting)["status"] == "succeeded"
    script.wait_until_deleted(vm_id)


def assert_error_state(script: ApiScript, vm_id: str, fault: str, allowed: list[str]) -> None:
    """Assert the fault and the allowed actions of a VM in ERROR."""
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


def test_patch_changes_name_and_metadata(script: ApiScript, owner: Any) -> None:
    vm_id = script.create_vm(metadata={"env": "test", "tier": "é"})
    path, new_name = f"/vms/{vm_id}", script.vm_name("new")
    owner.compute.set_server_metadata(vm_id, outside="yes", **{"vmapi.own": "hidden"})
    previous = script.get_vm(vm_id, refresh=True)["metadata"]
    assert previous == {"env": "test", "tier": "é", "outside": "yes"}
    body = {"name": new_name, "metadata": {"env": None, "absent": None, "tier": "2"}}
    changed = script.call("PATCH", path, body)
    assert (changed.status, changed.body["name"]) == (200, new_name)
    assert changed.body["metadata"] == {"tier": "2", "outside": "yes"}
    server = owner.compute.get_server(vm_id)
    assert (server.name, server.metadata["vmapi.own"]) == (new_name, "hidden")
    # the old name is free, the new name is not, in either case
    for name, total in ((script.vm_name("vm"), 0), (new_name, 1), (new_name.upper(), 0)):
        assert script.get(f"/vms?name={name}")["total"] == total
    taken = script.assert_refused(409, "name_taken", "POST", "/vms", script.create_body("new"))
    assert taken["vm_id"] == vm_id
    unchanged = script.call("PATCH", path, {"name": new_name})
    assert (unchanged.status, unchanged.body["name"]) == (200, new_name)
    too_many = {"metadata": {f"k{n}": "" for n in range(127)}}
    script.assert_refused(422, "validation_error", "PATCH", path, too_many)
    assert wait_for(lambda: script.get_vm(vm_id))["metadata"] == {"tier": "2", "outside": "yes"}
