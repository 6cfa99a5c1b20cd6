"""A create over HTTP: finished at once, in progress, and failed."""

import pytest

from tests.support.api_harness import BASE, CREATE_BODY, ApiHarness
from tests.support.memory_cloud import slow


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


def test_create_on_instant_cloud_has_a_finished_operation(harness: ApiHarness) -> None:
    response = harness.post("/vms", CREATE_BODY)
    assert harness.get_operation(response) == {
        "id": response.headers["Operation-Location"].removeprefix(f"{BASE}/operations/"),
        "action": "create",
        "vm_id": response.json["id"],
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
