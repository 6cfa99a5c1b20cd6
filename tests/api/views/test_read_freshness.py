"""Reads from the inventory: age, refresh, and reads without the cloud."""

from collections.abc import Iterator

import pytest

from tests.support.api_harness import BASE, UNKNOWN_ID, ApiHarness
from tests.support.audit_rows import audit_rows
from tests.support.fake_clock import Clock
from tests.support.remote_cloud import (
    NO_CACHE,
    RemoteBackend,
    age_inventory,
    only_vm_id,
    read_paths,
    response_age,
    sync_inventory,
    take_calls,
)
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import CreateSpec, VMPatch


@pytest.fixture
def backend(clock: Clock) -> RemoteBackend:
    return RemoteBackend(clock=clock, sleep=clock.sleep)


@pytest.fixture
def far(harness: ApiHarness) -> Iterator[ApiHarness]:
    """A harness with one RUNNING VM, web-1, and a current inventory."""
    harness.create_running()
    sync_inventory(harness)
    take_calls(harness)
    return harness


def test_reads_use_the_inventory_only(far: ApiHarness) -> None:
    for path in read_paths(only_vm_id(far)):
        assert response_age(far.call("GET", path)) in (0, 1)
    assert take_calls(far) == []


def test_no_cache_reads_from_the_cloud(far: ApiHarness) -> None:
    vm_id = only_vm_id(far)
    far.backend.perform_action(vm_id, Verb.PAUSE)
    assert far.get_vm(vm_id)["status"] == "RUNNING"
    for path, expected_call in zip(read_paths(vm_id), ["vms", "get", "get"], strict=True):
        response = far.call("GET", path, headers=NO_CACHE)
        assert response_age(response) in (0, 1)
        found = response.json["items"][0] if path == "/vms" else response.json
        assert (found["status"], take_calls(far)) == ("PAUSED", [expected_call])


def test_external_change_is_visible_after_next_poll(far: ApiHarness) -> None:
    vm_id = only_vm_id(far)
    far.clock.sleep(1)
    far.backend.perform_action(vm_id, Verb.PAUSE)
    sync_inventory(far)
    assert far.get_vm(vm_id)["status"] == "PAUSED"
    far.clock.sleep(1)
    far.backend.perform_action(vm_id, Verb.DELETE)
    far.clock.sleep(1)
    sync_inventory(far)
    assert far.get_json("/vms")["items"] == []
    (deleted,) = far.get_json("/vms?status=DELETED")["items"]
    assert (deleted["id"], deleted["status"], deleted["task"]) == (vm_id, "DELETED", None)
    assert far.call("GET", f"/vms/{vm_id}").status_code == 404
    far.clock.sleep(24 * 3600)
    assert far.get_json("/vms?status=DELETED")["items"] == []


def test_reader_refreshes_stale_inventory(far: ApiHarness) -> None:
    vm_id = only_vm_id(far)
    for path, expected_call in zip(read_paths(vm_id), ["vms", "get", "get"], strict=True):
        age_inventory(far, 60)
        assert response_age(far.call("GET", path)) in (0, 1)
        assert take_calls(far) == [expected_call]


def test_first_list_is_complete(harness: ApiHarness) -> None:
    assert harness.get_json("/vms")["items"] == []
    assert take_calls(harness) == ["vms"]


def test_first_list_without_cloud_is_503(harness: ApiHarness) -> None:
    harness.backend.set_faults("unavailable=99")
    for path in ("/vms", f"/vms/{UNKNOWN_ID}"):
        response = harness.call("GET", path)
        assert (response.status_code, response.json["code"]) == (503, "backend_unavailable")


def test_reads_without_cloud_report_growing_age(far: ApiHarness) -> None:
    vm_id = only_vm_id(far)
    far.backend.set_faults("unavailable=99")
    for path in read_paths(vm_id):
        age_inventory(far, 60)
        first = response_age(far.call("GET", path))
        assert first >= 60
        assert response_age(far.call("GET", path)) >= first
        fresh = far.call("GET", path, headers=NO_CACHE)
        assert (fresh.status_code, fresh.json["code"]) == (503, "backend_unavailable")
    far.backend.set_faults("")
    far.services.backend.breaker.probe()
    for path in read_paths(vm_id):
        assert response_age(far.call("GET", path, headers=NO_CACHE)) in (0, 1)


def test_created_vm_is_readable_at_once(far: ApiHarness) -> None:
    created = far.create("web-2")
    assert (created["status"], created["task"]) == ("BUILDING", "creating")
    take_calls(far)
    listed = far.get_json("/vms?status=BUILDING")["items"]
    assert [(vm["id"], vm["name"], vm["task"]) for vm in listed] == [
        (created["id"], "web-2", "creating")
    ]
    far.run_until_settled()
    assert far.get_vm(created["id"])["status"] == "STOPPED"


def test_changed_vm_is_readable_at_once(far: ApiHarness) -> None:
    vm_id = only_vm_id(far)
    assert far.post_action(vm_id, "pause").status_code == 202
    assert far.get_vm(vm_id)["task"] == "pausing"
    far.run_until_settled()
    assert (far.get_vm(vm_id)["status"], far.get_vm(vm_id)["task"]) == ("PAUSED", None)
    body = {"name": "web-9", "metadata": {"a": "b"}}
    changed = far.call("PATCH", f"/vms/{vm_id}", json=body).json
    assert (changed["name"], changed["metadata"]) == ("web-9", {"a": "b"})
    assert far.get_vm(vm_id) == changed
    assert far.call("DELETE", f"/vms/{vm_id}").status_code == 202
    far.run_until_settled()
    assert far.get_json("/vms")["items"] == []


def test_refused_rename_leaves_no_task(far: ApiHarness) -> None:
    vm_id = only_vm_id(far)
    far.create_running("web-2")
    sync_inventory(far)
    response = far.call("PATCH", f"/vms/{vm_id}", json={"name": "web-2"})
    assert response.json["code"] == "name_taken"
    assert far.get_vm(vm_id)["task"] is None
    assert far.post_action(vm_id, "pause").status_code == 202


def test_outdated_inventory_is_corrected_by_refused_action(far: ApiHarness) -> None:
    vm_id = only_vm_id(far)
    far.backend.perform_action(vm_id, Verb.PAUSE)
    response = far.post_action(vm_id, "pause")
    assert (response.status_code, response.json["current_status"]) == (409, "PAUSED")
    assert far.post_action(vm_id, "resume").status_code == 202


def test_external_metadata_is_visible_after_full_sync(far: ApiHarness) -> None:
    vm_id = only_vm_id(far)
    far.backend.update_vm(vm_id, VMPatch(metadata={"a": "b"}))
    far.call("GET", "/vms", headers=NO_CACHE)
    assert far.get_vm(vm_id)["metadata"] == {"a": "b"}


def test_vm_id_is_case_insensitive(far: ApiHarness) -> None:
    vm_id = only_vm_id(far)
    assert far.get_vm(vm_id.upper())["id"] == vm_id
    assert take_calls(far) == []
    assert far.client.get(f"{BASE}/vms?name=web-1%00").status_code == 422


def test_duplicate_vm_is_deleted_and_audited(far: ApiHarness) -> None:
    (create,) = far.get_json("/operations?action=create")["items"]
    flavor, image = far.backend.list_flavors()[0], far.backend.list_images()[0]
    spec = CreateSpec("web-1", flavor.id, image.id, None, {}, None, None, ())
    duplicate = far.backend.create_vm(spec, create["id"]).vm_id
    far.clock.sleep(1)
    age_inventory(far, 60)
    sync_inventory(far)
    far.run_until_settled()
    assert [vm["id"] for vm in far.get_json("/vms")["items"]] == [create["vm_id"]]
    (delete,) = far.get_json(f"/operations?vm_id={duplicate}")["items"]
    assert (delete["action"], delete["status"], delete["requested_by"]) == (
        *("delete", "succeeded", "vmapi"),
    )
    recorded = [entry for entry in audit_rows(far.app) if entry.vm_id == duplicate]
    assert [(entry.user, entry.action, entry.outcome) for entry in recorded] == [
        ("vmapi", "delete", "accepted"),
        ("vmapi", "delete", "succeeded"),
    ]
