"""Reads on a cloud that others sync: how old they are, and what goes on without the cloud."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text
from werkzeug.test import TestResponse

from tests.support.api_harness import BASE, NOBODY, ApiHarness
from tests.support.audit_rows import trail
from tests.support.fake_clock import Clock
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import VM, CreateSpec, VMPatch
from vmapi.services.inventory.observer import CloudObserver
from vmapi.services.inventory.sync import InventorySync
from vmapi.services.vms.duplicates import DuplicateCleaner

NO_CACHE = {"Cache-Control": "no-cache"}


class Remote(MemoryBackend):
    """The memory cloud as if it were far away; `asked` is what it was asked for."""

    completes_immediately = False

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.asked: list[str] = []

    def get_vm(self, vm_id: str) -> VM:
        self.asked.append("get")
        return super().get_vm(vm_id)

    def list_vms(self, *, name: str | None = None) -> Any:
        self.asked.append("vms")
        return super().list_vms(name=name)


@pytest.fixture
def backend(clock: Clock) -> Remote:
    return Remote(clock=clock, sleep=clock.sleep)


@pytest.fixture
def far(world: ApiHarness) -> Iterator[ApiHarness]:
    """A world with one RUNNING VM, web-1, and an inventory that is true."""
    world.create_running()
    sync(world)
    asked(world)
    return world


def sync(world: ApiHarness) -> None:
    """Do what is done within a minute."""
    store, cloud = world.services.store, world.backend
    tidy = DuplicateCleaner(store, world.services.vms).delete_duplicates
    looks = CloudObserver(cloud, store, world.clock)
    sync = InventorySync(
        looks, store, on_full_sync=tidy, clock=cloud.cloud_time, monotonic=time.monotonic
    )
    sync.full_sync_if_due()
    sync.poll_changes()


def asked(world: ApiHarness) -> list[str]:
    """Return what the cloud was asked for since the last time."""
    assert isinstance(world.backend, Remote)
    found = list(world.backend.asked)
    world.backend.asked.clear()
    return found


def grow_old(world: ApiHarness, seconds: int) -> None:
    """Let all that is known have been seen so long ago."""
    past = f"begun - {seconds}000000"
    store: Any = world.services.store
    with store._opened().database.write() as connection:
        connection.execute(text(f"UPDATE vms SET begun = {past}"))
        connection.execute(text(f"UPDATE syncs SET begun = {past}"))


def the_one(world: ApiHarness) -> str:
    (vm,) = world.get_json("/vms")["items"]
    return str(vm["id"])


def paths(vm_id: str) -> list[str]:
    return ["/vms", f"/vms/{vm_id}", f"/vms/{vm_id}/status"]


def age(answer: TestResponse) -> int:
    assert answer.status_code == 200, answer.text
    return int(answer.headers["Age"])


def test_reads_ask_nothing_of_the_cloud(far: ApiHarness) -> None:
    for path in paths(the_one(far)):
        assert age(far.call("GET", path)) in (0, 1)
    assert asked(far) == []


def test_who_wants_it_fresh_has_the_cloud_asked(far: ApiHarness) -> None:
    vm_id = the_one(far)
    far.backend.perform_action(vm_id, Verb.PAUSE)
    assert far.get_vm(vm_id)["status"] == "RUNNING"
    for path, look in zip(paths(vm_id), ["vms", "get", "get"], strict=True):
        answer = far.call("GET", path, headers=NO_CACHE)
        assert age(answer) in (0, 1)
        found = answer.json["items"][0] if path == "/vms" else answer.json
        assert (found["status"], asked(far)) == ("PAUSED", [look])


def test_what_changed_outside_is_seen_with_the_next_look(far: ApiHarness) -> None:
    vm_id = the_one(far)
    far.clock.sleep(1)
    far.backend.perform_action(vm_id, Verb.PAUSE)
    sync(far)
    assert far.get_vm(vm_id)["status"] == "PAUSED"
    far.clock.sleep(1)
    far.backend.perform_action(vm_id, Verb.DELETE)
    far.clock.sleep(1)
    sync(far)
    assert far.get_json("/vms")["items"] == []
    (deleted,) = far.get_json("/vms?status=DELETED")["items"]
    assert (deleted["id"], deleted["status"], deleted["task"]) == (vm_id, "DELETED", None)
    assert far.call("GET", f"/vms/{vm_id}").status_code == 404
    far.clock.sleep(24 * 3600)
    assert far.get_json("/vms?status=DELETED")["items"] == []


def test_where_nobody_looks_the_reader_does(far: ApiHarness) -> None:
    vm_id = the_one(far)
    for path, look in zip(paths(vm_id), ["vms", "get", "get"], strict=True):
        grow_old(far, 60)
        assert age(far.call("GET", path)) in (0, 1)
        assert asked(far) == [look]


def test_the_first_list_is_complete(world: ApiHarness) -> None:
    assert world.get_json("/vms")["items"] == []
    assert asked(world) == ["vms"]


def test_the_first_list_of_a_cloud_that_is_away_is_an_error(world: ApiHarness) -> None:
    world.backend.set_faults("unavailable=99")
    for path in ("/vms", f"/vms/{NOBODY}"):
        answer = world.call("GET", path)
        assert (answer.status_code, answer.json["code"]) == (503, "backend_unavailable")


def test_reads_go_on_without_the_cloud_and_grow_old(far: ApiHarness) -> None:
    vm_id = the_one(far)
    far.backend.set_faults("unavailable=99")
    for path in paths(vm_id):
        grow_old(far, 60)
        first = age(far.call("GET", path))
        assert first >= 60
        assert age(far.call("GET", path)) >= first
        fresh = far.call("GET", path, headers=NO_CACHE)
        assert (fresh.status_code, fresh.json["code"]) == (503, "backend_unavailable")
    far.backend.set_faults("")
    far.services.backend.breaker.probe()
    for path in paths(vm_id):
        assert age(far.call("GET", path, headers=NO_CACHE)) in (0, 1)


def test_who_creates_one_reads_it_at_once(far: ApiHarness) -> None:
    made = far.create("web-2")
    assert (made["status"], made["task"]) == ("BUILDING", "creating")
    asked(far)
    listed = far.get_json("/vms?status=BUILDING")["items"]
    assert [(vm["id"], vm["name"], vm["task"]) for vm in listed] == [
        (made["id"], "web-2", "creating")
    ]
    far.run_until_settled()
    assert far.get_vm(made["id"])["status"] == "STOPPED"


def test_who_changes_one_reads_it_at_once(far: ApiHarness) -> None:
    vm_id = the_one(far)
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


def test_a_refused_rename_leaves_no_task(far: ApiHarness) -> None:
    vm_id = the_one(far)
    far.create_running("web-2")
    sync(far)
    answer = far.call("PATCH", f"/vms/{vm_id}", json={"name": "web-2"})
    assert answer.json["code"] == "name_taken"
    assert far.get_vm(vm_id)["task"] is None
    assert far.post_action(vm_id, "pause").status_code == 202


def test_a_look_at_what_is_not_as_was_known(far: ApiHarness) -> None:
    vm_id = the_one(far)
    far.backend.perform_action(vm_id, Verb.PAUSE)
    answer = far.post_action(vm_id, "pause")
    assert (answer.status_code, answer.json["current_status"]) == (409, "PAUSED")
    assert far.post_action(vm_id, "resume").status_code == 202


def test_metadata_made_outside_is_there_after_a_look_at_everything(far: ApiHarness) -> None:
    vm_id = the_one(far)
    far.backend.update_vm(vm_id, VMPatch(metadata={"a": "b"}))
    far.call("GET", "/vms", headers=NO_CACHE)
    assert far.get_vm(vm_id)["metadata"] == {"a": "b"}


def test_ids_are_the_same_in_any_casing(far: ApiHarness) -> None:
    vm_id = the_one(far)
    assert far.get_vm(vm_id.upper())["id"] == vm_id
    assert asked(far) == []
    assert far.client.get(f"{BASE}/vms?name=web-1%00").status_code == 422


def test_a_second_vm_of_one_create_is_deleted_and_put_on_record(far: ApiHarness) -> None:
    (create,) = far.get_json("/operations?action=create")["items"]
    flavor, image = far.backend.list_flavors()[0], far.backend.list_images()[0]
    spec = CreateSpec("web-1", flavor.id, image.id, None, {}, None, None, ())
    double = far.backend.create_vm(spec, create["id"]).vm_id
    far.clock.sleep(1)
    grow_old(far, 60)
    sync(far)
    far.run_until_settled()
    assert [vm["id"] for vm in far.get_json("/vms")["items"]] == [create["vm_id"]]
    (delete,) = far.get_json(f"/operations?vm_id={double}")["items"]
    assert (delete["action"], delete["status"], delete["requested_by"]) == (
        *("delete", "succeeded", "vmapi"),
    )
    recorded = [entry for entry in trail(far.app) if entry.vm_id == double]
    assert [(entry.user, entry.action, entry.outcome) for entry in recorded] == [
        ("vmapi", "delete", "accepted"),
        ("vmapi", "delete", "succeeded"),
    ]
