"""VM names after external renames, external deletes and failed deletes."""

import pytest

from tests.support.api_harness import CREATE_BODY, ApiHarness
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import VM, VMPatch
from vmapi.errors import BackendTimeout, BackendUnavailable

slow_delete = pytest.mark.parametrize("latency", ["delete=3600"], ids=["slow delete"])


def check_name_taken(harness: ApiHarness, name: str = "web-1") -> str:
    """Create a VM with a taken name; return the VM id in the problem."""
    response = harness.post("/vms", {**CREATE_BODY, "name": name})
    assert (response.status_code, response.json["code"]) == (409, "name_taken")
    assert response.json["detail"] == f"VM {response.json['vm_id']} has the name {name} already."
    return str(response.json["vm_id"])


def rename_vm(harness: ApiHarness, vm_id: str, name: str) -> int:
    return harness.call("PATCH", f"/vms/{vm_id}", json={"name": name}).status_code


def test_external_delete_releases_name(harness: ApiHarness) -> None:
    gone = harness.create_running()
    harness.backend.perform_action(gone, Verb.DELETE)
    created = harness.create()["id"]
    assert check_name_taken(harness) == created != gone


def test_external_rename_takes_new_name(harness: ApiHarness) -> None:
    first = harness.create_running()
    harness.backend.update_vm(first, VMPatch(name="web-9"))
    assert check_name_taken(harness, "web-9") == first
    created = harness.create()["id"]
    assert check_name_taken(harness) == created != first


def test_rename_takes_name_released_externally(harness: ApiHarness) -> None:
    gone, renamed_vm = harness.create_running("web-1"), harness.create_running("web-2")
    harness.backend.perform_action(gone, Verb.DELETE)
    assert rename_vm(harness, renamed_vm, "web-1") == 200
    assert check_name_taken(harness) == renamed_vm
    assert harness.create("web-2")["name"] == "web-2"


def test_externally_renamed_vm_can_get_old_name_back(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    harness.backend.update_vm(vm_id, VMPatch(name="web-9"))
    assert rename_vm(harness, vm_id, "web-1") == 200
    assert check_name_taken(harness) == vm_id
    assert harness.create("web-9")["name"] == "web-9"


@pytest.mark.parametrize("error", [BackendUnavailable("away"), BackendTimeout("slow")])
def test_name_is_not_released_without_cloud(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    vm_id = harness.create_running()
    harness.backend.perform_action(vm_id, Verb.DELETE)

    def get(vm_id: str) -> VM:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(harness.backend, "get_vm", get)
        assert check_name_taken(harness) == vm_id
    assert harness.create()["name"] == "web-1"


def test_names_can_be_swapped_back(harness: ApiHarness) -> None:
    vm_id = harness.create_running("web-1")
    for name, old_name in [("web-2", "web-1"), ("web-1", "web-2"), ("web-2", "web-1")]:
        assert rename_vm(harness, vm_id, name) == 200
        assert check_name_taken(harness, name) == vm_id
        other = harness.create_running(old_name)
        assert rename_vm(harness, vm_id, old_name) == 409
        assert harness.call("DELETE", f"/vms/{other}").status_code == 204
        assert rename_vm(harness, vm_id, name) == 200


def test_two_vms_swap_names_through_a_third(harness: ApiHarness) -> None:
    first, second = harness.create_running("web-1"), harness.create_running("web-2")
    for vm_id, name in [(first, "web-3"), (second, "web-1"), (first, "web-2")]:
        assert rename_vm(harness, vm_id, name) == 200
    assert (check_name_taken(harness, "web-1"), check_name_taken(harness, "web-2")) == (
        second,
        first,
    )
    assert harness.create("web-3")["name"] == "web-3"


@slow_delete
def test_name_is_taken_during_delete(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    other = harness.create_running("web-2")
    assert harness.call("DELETE", f"/vms/{vm_id}").status_code == 202
    assert check_name_taken(harness) == vm_id
    assert rename_vm(harness, other, "web-1") == 409
    harness.advance_time(500)
    assert check_name_taken(harness) == vm_id


@slow_delete
def test_name_is_taken_after_failed_delete_until_vm_is_deleted(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    deleting = harness.call("DELETE", f"/vms/{vm_id}")
    harness.advance_time(601)
    ended = harness.get_operation(deleting)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "operation_timeout")
    assert check_name_taken(harness) == vm_id
    # the cloud continues the failed delete
    harness.clock.sleep(3000)
    assert harness.create()["id"] != vm_id
