"""One VM over HTTP: its changes, its console and its id."""

from typing import Any

import pytest

from tests.support.api_harness import UNKNOWN_ID, ApiHarness
from tests.support.memory_cloud import remove_instances


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
