"""A delete over HTTP: finished at once, in progress, and during a create."""

from tests.support.api_harness import ApiHarness
from tests.support.memory_cloud import slow


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
