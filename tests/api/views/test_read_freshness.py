"""Reads from the inventory: age, refresh, and reads without the cloud."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.support.api_harness import BASE, CREATE_BODY, UNKNOWN_ID, ApiHarness
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
from vmapi.errors import BackendTimeout


@pytest.fixture
def backend(clock: Clock) -> RemoteBackend:
    return RemoteBackend(clock=clock, sleep=clock.sleep)


@pytest.fixture
def remote(harness: ApiHarness) -> Iterator[ApiHarness]:
    """A harness with one RUNNING VM, web-1, and a current inventory."""
    harness.create_running()
    sync_inventory(harness)
    take_calls(harness)
    return harness


def test_reads_use_the_inventory_only(remote: ApiHarness) -> None:
    for path in read_paths(only_vm_id(remote)):
        assert response_age(remote.call("GET", path)) in (0, 1)
    assert take_calls(remote) == []


def test_no_cache_reads_from_the_cloud(remote: ApiHarness) -> None:
    vm_id = only_vm_id(remote)
    remote.backend.perform_action(vm_id, Verb.PAUSE)
    assert remote.get_vm(vm_id)["status"] == "RUNNING"
    for path, expected_call in zip(read_paths(vm_id), ["vms", "get", "get"], strict=True):
        response = remote.call("GET", path, headers=NO_CACHE)
        assert response_age(response) in (0, 1)
        vm = response.json["items"][0] if path == "/vms" else response.json
        assert (vm["status"], take_calls(remote)) == ("PAUSED", [expected_call])


def test_external_change_is_visible_after_next_poll(remote: ApiHarness) -> None:
    vm_id = only_vm_id(remote)
    remote.clock.sleep(1)
    remote.backend.perform_action(vm_id, Verb.PAUSE)
    sync_inventory(remote)
    assert remote.get_vm(vm_id)["status"] == "PAUSED"
    remote.clock.sleep(1)
    remote.backend.perform_action(vm_id, Verb.DELETE)
    remote.clock.sleep(1)
    sync_inventory(remote)
    assert remote.get_json("/vms")["items"] == []
    (deleted,) = remote.get_json("/vms?status=DELETED")["items"]
    assert (deleted["id"], deleted["status"], deleted["task"]) == (vm_id, "DELETED", None)
    assert remote.call("GET", f"/vms/{vm_id}").status_code == 404
    remote.clock.sleep(24 * 3600)
    assert remote.get_json("/vms?status=DELETED")["items"] == []


def test_reader_refreshes_stale_inventory(remote: ApiHarness) -> None:
    vm_id = only_vm_id(remote)
    for path, expected_call in zip(read_paths(vm_id), ["vms", "get", "get"], strict=True):
        age_inventory(remote, 60)
        assert response_age(remote.call("GET", path)) in (0, 1)
        assert take_calls(remote) == [expected_call]


def test_first_list_is_complete(harness: ApiHarness) -> None:
    assert harness.get_json("/vms")["items"] == []
    assert take_calls(harness) == ["vms"]


def test_first_list_without_cloud_is_503(harness: ApiHarness) -> None:
    harness.backend.set_faults("unavailable=99")
    for path in ("/vms", f"/vms/{UNKNOWN_ID}"):
        response = harness.call("GET", path)
        assert (response.status_code, response.json["code"]) == (503, "backend_unavailable")


def test_reads_without_cloud_report_growing_age(remote: ApiHarness) -> None:
    vm_id = only_vm_id(remote)
    remote.backend.set_faults("unavailable=99")
    for path in read_paths(vm_id):
        age_inventory(remote, 60)
        first = response_age(remote.call("GET", path))
        assert first >= 60
        assert response_age(remote.call("GET", path)) >= first
        fresh = remote.call("GET", path, headers=NO_CACHE)
        assert (fresh.status_code, fresh.json["code"]) == (503, "backend_unavailable")
    remote.backend.set_faults("")
    remote.services.backend.breaker.probe()
    for path in read_paths(vm_id):
        assert response_age(remote.call("GET", path, headers=NO_CACHE)) in (0, 1)


def test_created_vm_is_readable_at_once(remote: ApiHarness) -> None:
    created = remote.create("web-2")
    assert (created["status"], created["task"]) == ("BUILDING", "creating")
    take_calls(remote)
    listed = remote.get_json("/vms?status=BUILDING")["items"]
    assert [(vm["id"], vm["name"], vm["task"]) for vm in listed] == [
        (created["id"], "web-2", "creating")
    ]
    remote.run_until_settled()
    assert remote.get_vm(created["id"])["status"] == "STOPPED"


def test_changed_vm_is_readable_at_once(remote: ApiHarness) -> None:
    vm_id = only_vm_id(remote)
    assert remote.post_action(vm_id, "pause").status_code == 202
    assert remote.get_vm(vm_id)["task"] == "pausing"
    remote.run_until_settled()
    assert (remote.get_vm(vm_id)["status"], remote.get_vm(vm_id)["task"]) == ("PAUSED", None)
    body = {"name": "web-9", "metadata": {"a": "b"}}
    changed = remote.call("PATCH", f"/vms/{vm_id}", json=body).json
    assert (changed["name"], changed["metadata"]) == ("web-9", {"a": "b"})
    assert remote.get_vm(vm_id) == changed
    assert remote.call("DELETE", f"/vms/{vm_id}").status_code == 202
    remote.run_until_settled()
    assert remote.get_json("/vms")["items"] == []


def test_refused_rename_leaves_no_task(remote: ApiHarness) -> None:
    vm_id = only_vm_id(remote)
    remote.create_running("web-2")
    sync_inventory(remote)
    response = remote.call("PATCH", f"/vms/{vm_id}", json={"name": "web-2"})
    assert response.json["code"] == "name_taken"
    assert remote.get_vm(vm_id)["task"] is None
    assert remote.post_action(vm_id, "pause").status_code == 202


def test_outdated_inventory_is_corrected_by_refused_action(remote: ApiHarness) -> None:
    vm_id = only_vm_id(remote)
    remote.backend.perform_action(vm_id, Verb.PAUSE)
    response = remote.post_action(vm_id, "pause")
    assert (response.status_code, response.json["current_status"]) == (409, "PAUSED")
    assert remote.post_action(vm_id, "resume").status_code == 202


def test_external_metadata_is_visible_after_full_sync(remote: ApiHarness) -> None:
    vm_id = only_vm_id(remote)
    remote.backend.update_vm(vm_id, VMPatch(metadata={"a": "b"}))
    remote.call("GET", "/vms", headers=NO_CACHE)
    assert remote.get_vm(vm_id)["metadata"] == {"a": "b"}


def test_vm_id_is_case_insensitive(remote: ApiHarness) -> None:
    vm_id = only_vm_id(remote)
    assert remote.get_vm(vm_id.upper())["id"] == vm_id
    assert take_calls(remote) == []
    assert remote.client.get(f"{BASE}/vms?name=web-1%00").status_code == 422


def test_vm_with_a_copied_tag_lives(remote: ApiHarness) -> None:
    (create,) = remote.get_json("/operations?action=create")["items"]
    flavor, image = remote.backend.list_flavors()[0], remote.backend.list_images()[0]
    spec = CreateSpec("web-1", flavor.id, image.id, None, {}, None, None, ())
    copied_ids = {remote.backend.create_vm(spec, create["id"]).vm_id}
    copied_ids.add(remote.backend.create_vm(replace(spec, name="web-2"), create["id"]).vm_id)
    remote.clock.sleep(1)
    age_inventory(remote, 60)
    sync_inventory(remote)
    remote.run_until_settled()
    listed_ids = {vm["id"] for vm in remote.get_json("/vms")["items"]}
    assert listed_ids == {create["vm_id"], *copied_ids}
    assert remote.get_json("/operations?action=delete")["items"] == []


def test_duplicate_of_a_lost_create_is_deleted_and_audited(
    remote: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_vm = remote.backend.create_vm

    def create_twice(*args: Any, **kwargs: Any) -> None:
        create_vm(*args, **kwargs)
        remote.clock.sleep(1)
        create_vm(*args, **kwargs)
        raise BackendTimeout("lost")

    monkeypatch.setattr(remote.backend, "create_vm", create_twice)
    response = remote.post("/vms", {**CREATE_BODY, "name": "web-2", "start": True})
    assert (response.status_code, response.json["code"]) == (504, "backend_timeout")
    remote.run_until_settled()
    create = remote.get_operation(response)
    assert create["status"] == "succeeded"
    age_inventory(remote, 60)
    sync_inventory(remote)
    remote.run_until_settled()
    (vm,) = remote.get_json("/vms?name=web-2")["items"]
    assert vm["id"] == create["vm_id"]
    (delete,) = remote.get_json("/operations?action=delete")["items"]
    assert (delete["status"], delete["requested_by"]) == ("succeeded", "vmapi")
    recorded = [entry for entry in audit_rows(remote.app) if entry.vm_id == delete["vm_id"]]
    assert [(entry.user, entry.action, entry.outcome) for entry in recorded] == [
        ("vmapi", "delete", "accepted"),
        ("vmapi", "delete", "succeeded"),
    ]
