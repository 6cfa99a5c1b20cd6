"""The life of a VM over HTTP: each call, finished at once or in progress."""

from typing import Any

import pytest

from tests.support.api_harness import BASE, UNKNOWN_ID, ApiHarness
from tests.support.memory_cloud import remove_instances
from vmapi.services.operations import preconditions as guard

slow = pytest.mark.parametrize("latency", ["create=2,delete=2,update=0,*=1"], ids=["slow"])
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
ACTIONS: list[tuple[list[str], str, str, str]] = [
    (["stop"], "start", "starting", "RUNNING"),
    ([], "stop", "stopping", "STOPPED"),
    (["pause"], "stop", "stopping", "STOPPED"),
    ([], "restart", "restarting", "RUNNING"),
    ([], "pause", "pausing", "PAUSED"),
    (["pause"], "resume", "resuming", "RUNNING"),
]


def test_create_on_instant_cloud_returns_201(harness: ApiHarness) -> None:
    response = harness.post("/vms", {"name": "web-1", "flavor": "m1.small", "image": "debian-12"})
    assert response.status_code == 201
    assert response.content_type == "application/json"
    vm = response.json
    assert response.headers["Location"] == f"{BASE}/vms/{vm['id']}"
    assert "Retry-After" not in response.headers
    assert vm == {
        "id": vm["id"],
        "name": "web-1",
        "flavor": "m1.small",
        "image": "debian-12",
        "status": "STOPPED",
        "task": None,
        "allowed_actions": ["start", "delete"],
        "ip_address": "198.18.0.2",
        "addresses": [{"network": "private", "ip": "198.18.0.2", "version": 4, "type": "fixed"}],
        "metadata": {},
        "key_name": None,
        "security_groups": ["default"],
        "locked": False,
        "fault": None,
        "backend_status": "SHUTOFF",
        "created_at": "2026-02-25T10:30:00Z",
        "updated_at": "2026-02-25T10:30:00Z",
    }
    assert harness.get_vm(vm["id"]) == vm
    operation = harness.get_operation(response)
    assert operation == {
        "id": response.headers["Operation-Location"].removeprefix(f"{BASE}/operations/"),
        "action": "create",
        "vm_id": vm["id"],
        "status": "succeeded",
        "error": None,
        "requested_by": "anonymous",
        "request_id": response.headers["X-Request-ID"],
        "created_at": "2026-02-25T10:30:00Z",
        "started_at": "2026-02-25T10:30:00Z",
        "finished_at": "2026-02-25T10:30:00Z",
        "bulk_id": None,
        "bulk": None,
    }


def test_create_with_every_field(harness: ApiHarness) -> None:
    flavor = next(f for f in harness.get_json("/flavors")["items"] if f["name"] == "m1.tiny")
    network = next(n for n in harness.get_json("/networks")["items"] if n["name"] == "public")
    vm = harness.create(
        flavor=flavor["id"],
        network=network["id"],
        start=True,
        metadata={"env": "prod"},
        user_data="#!/bin/sh\necho hunter2\n",
        ssh_keys=["ssh-ed25519 " + "A" * 68],
        key_name="demo",
        security_groups=["web", "default", "web"],
    )
    assert (vm["status"], vm["flavor"], vm["ip_address"]) == ("RUNNING", "m1.tiny", "203.0.113.2")
    assert (vm["metadata"], vm["key_name"]) == ({"env": "prod"}, "demo")
    assert vm["security_groups"] == ["web", "default"]
    assert (
        "hunter2" not in harness.call("GET", "/vms").text + harness.call("GET", "/operations").text
    )
    assert "bytes of user data applied" in harness.get_json(f"/vms/{vm['id']}/console")["output"]


@slow
def test_create_in_progress_returns_202(harness: ApiHarness) -> None:
    response = harness.post("/vms", {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"})
    assert response.status_code == 202
    assert response.headers["Retry-After"] == "1"
    vm = response.json
    assert response.headers["Location"] == f"{BASE}/vms/{vm['id']}"
    assert (vm["status"], vm["task"]) == ("BUILDING", "creating")
    assert (vm["allowed_actions"], vm["ip_address"]) == (["delete"], None)
    assert harness.get_operation(response)["status"] == "running"
    harness.advance_time(2)
    # Nova reports ACTIVE, and the stop is still pending
    vm_document = harness.get_vm(vm["id"])
    assert (vm_document["status"], vm_document["task"], vm_document["backend_status"]) == (
        *("BUILDING", "creating"),
        "ACTIVE",
    )
    assert harness.get_json(f"/vms/{vm['id']}/status") == {
        "vm_id": vm["id"],
        "status": "BUILDING",
        "task": "creating",
        "updated_at": vm_document["updated_at"],
    }
    harness.advance_time(1)
    vm_document = harness.get_vm(vm["id"])
    assert (vm_document["status"], vm_document["task"]) == ("STOPPED", None)
    assert harness.get_operation(response)["finished_at"] == "2026-02-25T10:30:03Z"


@pytest.mark.parametrize(("before", "action", "task", "status"), ACTIONS)
def test_actions_on_instant_cloud_return_200(
    harness: ApiHarness, before: list[str], action: str, task: str, status: str
) -> None:
    vm_id = harness.create_running()
    for first in before:
        harness.post_action(vm_id, first)
    response = harness.post_action(vm_id, action)
    assert response.status_code == 200
    assert response.json == harness.get_vm(vm_id)
    assert (response.json["status"], response.json["task"]) == (status, None)
    assert "Location" not in response.headers
    assert "Retry-After" not in response.headers
    operation = harness.get_operation(response)
    assert (operation["action"], operation["status"]) == (action, "succeeded")


@slow
@pytest.mark.parametrize(("before", "action", "task", "status"), ACTIONS)
def test_actions_in_progress_return_202(
    harness: ApiHarness, before: list[str], action: str, task: str, status: str
) -> None:
    vm_id = harness.create_running()
    for first in before:
        harness.post_action(vm_id, first)
        harness.run_until_settled()
    response = harness.post_action(vm_id, action)
    assert response.status_code == 202
    assert response.headers["Retry-After"] == "1"
    assert (response.json["task"], response.json["allowed_actions"]) == (task, ["delete"])
    assert harness.get_json(f"/vms/{vm_id}/status")["task"] == task
    harness.run_until_settled()
    vm_document = harness.get_vm(vm_id)
    assert (vm_document["status"], vm_document["task"]) == (status, None)
    assert harness.get_operation(response)["status"] == "succeeded"


@pytest.mark.parametrize(
    ("body", "word"),
    [(None, "REBOOT"), ({"type": "soft"}, "REBOOT"), ({"type": "hard"}, "HARD_REBOOT")],
)
@pytest.mark.parametrize("latency", ["restart=1"], ids=["slow"])
def test_restart_type_is_chosen_by_request_and_status(
    harness: ApiHarness, body: Any, word: str
) -> None:
    vm_id = harness.create_running()
    response = harness.post(f"/vms/{vm_id}/restart", body)
    assert (response.status_code, response.json["backend_status"]) == (202, word)


def test_hard_restart_recovers_from_error(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    harness.backend.set_faults("action_failed=1")
    failed = harness.post_action(vm_id, "restart")
    assert (failed.status_code, failed.json["code"]) == (502, "backend_error")
    broken = harness.get_vm(vm_id)
    assert (broken["status"], broken["allowed_actions"]) == ("ERROR", ["restart", "delete"])
    assert broken["fault"] == {
        "code": "backend_error",
        "message": "The action restart_soft failed on the host.",
        "hint": "Restart it, or delete it.",
    }
    soft = harness.post(f"/vms/{vm_id}/restart", {"type": "soft"})
    assert (soft.status_code, soft.json["code"]) == (409, "invalid_state")
    healed = harness.post_action(vm_id, "restart")
    assert (healed.status_code, healed.json["status"], healed.json["fault"]) == (
        *(200, "RUNNING"),
        None,
    )


def test_delete_on_instant_cloud_returns_204(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    response = harness.call("DELETE", f"/vms/{vm_id}")
    assert (response.status_code, response.data) == (204, b"")
    assert "Content-Type" not in response.headers
    assert harness.get_operation(response)["status"] == "succeeded"
    for path in ("", "/status", "/console"):
        response = harness.call("GET", f"/vms/{vm_id}{path}")
        assert (response.status_code, response.json["code"]) == (404, "vm_not_found")
    again = harness.call("DELETE", f"/vms/{vm_id}")
    assert (again.status_code, again.json["code"]) == (404, "vm_not_found")
    assert harness.get_json("/vms")["total"] == 0


@slow
def test_delete_in_progress_returns_202(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    response = harness.call("DELETE", f"/vms/{vm_id}")
    assert response.status_code == 202
    assert (response.headers["Retry-After"], response.json["task"]) == ("1", "deleting")
    again = harness.call("DELETE", f"/vms/{vm_id}")
    assert again.status_code == 202
    harness.run_until_settled()
    assert harness.call("GET", f"/vms/{vm_id}").status_code == 404
    assert [harness.get_operation(a)["status"] for a in (response, again)] == ["succeeded"] * 2


@slow
def test_delete_supersedes_create(harness: ApiHarness) -> None:
    create = harness.post("/vms", {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"})
    vm_id = create.json["id"]
    delete = harness.call("DELETE", f"/vms/{vm_id}")
    assert (delete.status_code, delete.json["task"]) == (202, "deleting")
    ended = harness.get_operation(create)
    assert (ended["status"], ended["error"]) == ("superseded", None)
    assert ended["finished_at"] is not None
    harness.run_until_settled()
    assert harness.call("GET", f"/vms/{vm_id}").status_code == 404
    assert harness.get_operation(delete)["status"] == "succeeded"
    assert harness.get_operation(create) == ended
    assert harness.create()["name"] == "web-1"


@slow
def test_stop_during_start_is_409(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    harness.post_action(vm_id, "stop")
    harness.run_until_settled()
    start = harness.post_action(vm_id, "start")
    stop = harness.post_action(vm_id, "stop")
    assert stop.status_code == 409
    assert stop.json["code"] == "task_in_progress"
    assert (stop.json["current_status"], stop.json["task"]) == ("STOPPED", "starting")
    assert stop.json["allowed_actions"] == ["delete"]
    harness.run_until_settled()
    assert harness.get_operation(start)["status"] == "succeeded"
    assert harness.get_vm(vm_id)["status"] == "RUNNING"


@pytest.mark.parametrize("media_type", ["application/json", "application/merge-patch+json"])
def test_patch_changes_name_and_metadata(harness: ApiHarness, media_type: str) -> None:
    vm_id = harness.create_running(metadata={"env": "prod", "owner": "me"})
    harness.clock.sleep(1)
    body = '{"name": "web-2", "metadata": {"env": "test", "owner": null, "gone": null, "new": ""}}'
    response = harness.call("PATCH", f"/vms/{vm_id}", data=body, content_type=media_type)
    assert response.status_code == 200
    assert response.json == harness.get_vm(vm_id)
    assert (response.json["name"], response.json["metadata"]) == (
        "web-2",
        {"env": "test", "new": ""},
    )
    assert response.json["updated_at"] == "2026-02-25T10:30:01Z"
    operation = harness.get_operation(response)
    assert (operation["action"], operation["status"]) == ("update", "succeeded")


@pytest.mark.parametrize("body", [{}, {"metadata": {}}, {"name": "web-1"}])
def test_empty_patch_changes_nothing(harness: ApiHarness, body: Any) -> None:
    vm_id = harness.create_running(metadata={"env": "prod"})
    before = harness.get_vm(vm_id)
    response = harness.call("PATCH", f"/vms/{vm_id}", json=body)
    assert (response.status_code, response.json) == (200, before)


def test_console_returns_last_lines(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    output = harness.get_json(f"/vms/{vm_id}/console")["output"]
    assert "Booting web-1 from cirros" in output
    last = harness.get_json(f"/vms/{vm_id}/console?lines=3")["output"]
    assert last == "\n".join(output.split("\n")[-3:])
    assert harness.get_json(f"/vms/{vm_id}/console?lines=10000")["output"] == output


def test_vm_id_in_upper_case_is_accepted(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    assert harness.get_vm(vm_id.upper())["id"] == vm_id
    assert harness.post_action(vm_id.upper(), "stop").json["id"] == vm_id


@pytest.mark.parametrize("code", ["no_capacity", "build_failed"])
@pytest.mark.parametrize(("latency", "status"), [("0", 201), ("create=1", 202)])
def test_failed_build_is_reported(harness: ApiHarness, code: str, status: int) -> None:
    harness.backend.set_faults(f"{code}=1")
    response = harness.post("/vms", {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"})
    assert response.status_code == status
    harness.run_until_settled()
    vm = harness.get_vm(response.json["id"])
    assert (vm["status"], vm["task"], vm["allowed_actions"]) == ("ERROR", None, ["delete"])
    assert vm["fault"]["code"] == code
    operation = harness.get_operation(response)
    assert (operation["status"], operation["error"]["code"]) == ("failed", code)
    assert operation["error"]["detail"] == vm["fault"]["message"]
    assert operation["error"]["hint"] == vm["fault"]["hint"]
    restart = harness.post_action(vm["id"], "restart")
    assert (restart.status_code, restart.json["code"]) == (409, "invalid_state")
    assert harness.call("DELETE", f"/vms/{vm['id']}").status_code == 204


@pytest.mark.parametrize("latency", ["stop=3600"])
def test_operation_past_its_deadline_fails(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    response = harness.post_action(vm_id, "stop")
    harness.advance_time(601)
    operation = harness.get_operation(response)
    assert (operation["status"], operation["error"]["code"]) == ("failed", "operation_timeout")
    assert operation["error"]["status"] == 504
    assert harness.get_vm(vm_id)["status"] == "RUNNING"


@slow
def test_vm_deleted_during_operation_fails_it(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    response = harness.post_action(vm_id, "stop")
    remove_instances(harness.backend.cloud)
    harness.reconcile_once()
    operation = harness.get_operation(response)
    assert (operation["status"], operation["error"]["code"]) == ("failed", "backend_lost")


@pytest.mark.parametrize("path", ["/flavors", "/images", "/networks"])
def test_catalog_lists_flavors_images_and_networks(harness: ApiHarness, path: str) -> None:
    body = harness.get_json(path)
    assert list(body) == ["items"]
    names = [item["name"] for item in body["items"]]
    assert (
        names
        == {
            "/flavors": ["m1.tiny", "m1.small", "m1.medium", "m1.large", "m1.xlarge"],
            "/images": ["cirros", "debian-12", "ubuntu-22.04", "ubuntu-24.04"],
            "/networks": ["private", "public"],
        }[path]
    )
    assert (
        set(body["items"][0])
        == {
            "/flavors": {"id", "name", "vcpus", "ram_mb", "disk_gb"},
            "/images": {"id", "name", "status", "min_disk_gb", "min_ram_mb"},
            "/networks": {"id", "name"},
        }[path]
    )


@pytest.mark.parametrize(
    "vm_id", [UNKNOWN_ID, "1", "nope", UNKNOWN_ID[:-1], UNKNOWN_ID + "0", "%20", "..."]
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", path) for path in ("", "/status", "/console")),
        ("DELETE", ""),
        ("PATCH", ""),
        *(("POST", "/" + action) for action in ("start", "stop", "restart", "pause", "resume")),
    ],
)
def test_missing_vm_is_404(harness: ApiHarness, vm_id: str, method: str, path: str) -> None:
    body = {"json": {"name": "web-2"}} if method == "PATCH" else {}
    response = harness.call(method, f"/vms/{vm_id}{path}", **body)
    assert (response.status_code, response.json["code"]) == (404, "vm_not_found")


@slow
def test_concurrent_actions_on_one_vm_conflict(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm_id, plan, others = harness.create_running(), guard.plan_steps, ["pause"]

    def overtaken(*args: Any, **kwargs: Any) -> Any:
        planned = plan(*args, **kwargs)
        if others:
            assert harness.post_action(vm_id, others.pop()).status_code == 202
        return planned

    monkeypatch.setattr(guard, "plan_steps", overtaken)
    response = harness.post_action(vm_id, "stop")
    assert (response.status_code, response.json["code"]) == (409, "task_in_progress")
    assert response.json["detail"] == "Another change of the VM is still in progress."
    assert response.json["current_status"] == "RUNNING"


def test_vm_deleted_right_after_change_is_404(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm_id, update = harness.create_running(), harness.backend.update_vm

    def and_gone(*args: Any, **kwargs: Any) -> None:
        update(*args, **kwargs)
        remove_instances(harness.backend.cloud)

    monkeypatch.setattr(harness.backend, "update_vm", and_gone)
    response = harness.call("PATCH", f"/vms/{vm_id}", json={"metadata": {"a": "1"}})
    assert (response.status_code, response.json["id"]) == (200, vm_id)
    assert harness.call("GET", f"/vms/{vm_id}").status_code == 404
