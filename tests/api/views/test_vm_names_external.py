"""Names follow what somebody else does with VMs in the cloud, and how deletes go."""

import pytest

from tests.support.api_harness import CREATE_BODY, ApiHarness
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import VM, VMPatch
from vmapi.errors import BackendTimeout, BackendUnavailable

slow_delete = pytest.mark.parametrize("latency", ["delete=3600"], ids=["slow delete"])


def refused(world: ApiHarness, name: str = "web-1") -> str:
    """Ask for a name that is taken, and return whose it is said to be."""
    answer = world.post("/vms", {**CREATE_BODY, "name": name})
    assert (answer.status_code, answer.json["code"]) == (409, "name_taken")
    assert answer.json["detail"] == f"VM {answer.json['vm_id']} has the name {name} already."
    return str(answer.json["vm_id"])


def rename(world: ApiHarness, vm_id: str, name: str) -> int:
    return world.call("PATCH", f"/vms/{vm_id}", json={"name": name}).status_code


def test_external_delete_releases_name(world: ApiHarness) -> None:
    gone = world.create_running()
    world.backend.perform_action(gone, Verb.DELETE)
    made = world.create()["id"]
    assert refused(world) == made != gone


def test_external_rename_takes_new_name(world: ApiHarness) -> None:
    first = world.create_running()
    world.backend.update_vm(first, VMPatch(name="web-9"))
    assert refused(world, "web-9") == first
    made = world.create()["id"]
    assert refused(world) == made != first


def test_rename_takes_name_released_externally(world: ApiHarness) -> None:
    gone, kept = world.create_running("web-1"), world.create_running("web-2")
    world.backend.perform_action(gone, Verb.DELETE)
    assert rename(world, kept, "web-1") == 200
    assert refused(world) == kept
    assert world.create("web-2")["name"] == "web-2"


def test_externally_renamed_vm_can_get_old_name_back(world: ApiHarness) -> None:
    vm_id = world.create_running()
    world.backend.update_vm(vm_id, VMPatch(name="web-9"))
    assert rename(world, vm_id, "web-1") == 200
    assert refused(world) == vm_id
    assert world.create("web-9")["name"] == "web-9"


@pytest.mark.parametrize("error", [BackendUnavailable("away"), BackendTimeout("slow")])
def test_name_is_not_released_without_cloud(
    world: ApiHarness, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    vm_id = world.create_running()
    world.backend.perform_action(vm_id, Verb.DELETE)

    def get(vm_id: str) -> VM:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(world.backend, "get_vm", get)
        assert refused(world) == vm_id
    assert world.create()["name"] == "web-1"


def test_names_can_be_swapped_back(world: ApiHarness) -> None:
    vm_id = world.create_running("web-1")
    for name, left in [("web-2", "web-1"), ("web-1", "web-2"), ("web-2", "web-1")]:
        assert rename(world, vm_id, name) == 200
        assert refused(world, name) == vm_id
        other = world.create_running(left)
        assert rename(world, vm_id, left) == 409
        assert world.call("DELETE", f"/vms/{other}").status_code == 204
        assert rename(world, vm_id, name) == 200


def test_two_vms_swap_names_through_a_third(world: ApiHarness) -> None:
    first, second = world.create_running("web-1"), world.create_running("web-2")
    for vm_id, name in [(first, "web-3"), (second, "web-1"), (first, "web-2")]:
        assert rename(world, vm_id, name) == 200
    assert (refused(world, "web-1"), refused(world, "web-2")) == (second, first)
    assert world.create("web-3")["name"] == "web-3"


@slow_delete
def test_name_is_taken_during_delete(world: ApiHarness) -> None:
    vm_id = world.create_running()
    other = world.create_running("web-2")
    assert world.call("DELETE", f"/vms/{vm_id}").status_code == 202
    assert refused(world) == vm_id
    assert rename(world, other, "web-1") == 409
    world.advance_time(500)
    assert refused(world) == vm_id


@slow_delete
def test_name_is_taken_after_failed_delete_until_vm_is_deleted(world: ApiHarness) -> None:
    vm_id = world.create_running()
    deleting = world.call("DELETE", f"/vms/{vm_id}")
    world.advance_time(601)
    ended = world.get_operation(deleting)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "operation_timeout")
    assert refused(world) == vm_id
    # what the cloud still does is the cloud's own
    world.clock.sleep(3000)
    assert world.create()["id"] != vm_id
