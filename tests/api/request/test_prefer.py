"""Prefer: wait=N holds an answer back until it is settled, and says so."""

from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.api_harness import CREATE_BODY, UNKNOWN_ID, ApiHarness
from tests.support.auth_harness import AuthHarness
from vmapi.domain.operation import Operation
from vmapi.services.operations.waiting import OperationWaiter

pytestmark = pytest.mark.parametrize("latency", ["create=2,delete=2,update=0,*=1"], ids=["slow"])


def create(world: ApiHarness, prefer: str) -> TestResponse:
    return world.call("POST", "/vms", json=CREATE_BODY, headers={"Prefer": prefer})


def waiting(world: ApiHarness) -> OperationWaiter:
    return world.services.operations._waiter


@pytest.fixture
def meanwhile(world: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What happens as soon as an operation is left to the engine, while the request waits."""

    def happens(what: Any) -> None:
        monkeypatch.setattr(world.services.operations, "_notify_engine", lambda _: what())

    return happens


def test_change_finished_within_wait_returns_vm(world: ApiHarness, meanwhile: Any) -> None:
    meanwhile(world.run_until_settled)
    made = create(world, "wait=60")
    assert (made.status_code, made.headers["Preference-Applied"]) == (201, "wait=60")
    assert (made.json["status"], made.json["task"]) == ("STOPPED", None)
    vm_id = made.json["id"]
    for method, path, status in [("POST", "/start", 200), ("DELETE", "", 204)]:
        answer = world.call(method, f"/vms/{vm_id}{path}", headers={"Prefer": "wait=60"})
        assert (answer.status_code, answer.headers["Preference-Applied"]) == (status, "wait=60")


def test_get_operation_waits_until_finished(
    world: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = world.call("POST", "/vms", json=CREATE_BODY)
    path = "/operations/" + made.headers["Operation-Location"].rpartition("/")[2]
    plain = world.call("GET", path)
    assert (plain.json["status"], "Preference-Applied" in plain.headers) == ("running", False)
    get = waiting(world)._get_operation
    monkeypatch.setattr(
        waiting(world), "_get_operation", lambda id: (world.run_until_settled(), get(id))[1]
    )
    answer = world.call("GET", path, headers={"Prefer": "wait=60"})
    assert answer.json["status"] == "succeeded"
    assert answer.headers["Preference-Applied"] == "wait=60"


def test_change_unfinished_after_wait_returns_202(world: ApiHarness) -> None:
    answer = create(world, "wait=1")
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "wait=1")
    assert answer.headers["Retry-After"] == "1"


def test_failure_during_wait_is_returned(world: ApiHarness, meanwhile: Any) -> None:
    vm_id = world.create_running()
    world.backend.set_faults("action_failed=1")
    meanwhile(world.run_until_settled)
    answer = world.call("POST", f"/vms/{vm_id}/stop", headers={"Prefer": "wait=60"})
    assert (answer.status_code, answer.json["code"]) == (502, "backend_error")
    assert answer.json["vm_id"] == vm_id
    assert world.get_operation(answer)["status"] == "failed"


def test_operation_superseded_during_wait_is_returned(world: ApiHarness, meanwhile: Any) -> None:
    vm_id = world.create_running()
    left = ["delete"]

    def once() -> None:
        if left:
            left.clear()
            world.call("DELETE", f"/vms/{vm_id}")

    meanwhile(once)
    answer = world.call("POST", f"/vms/{vm_id}/stop", headers={"Prefer": "wait=60"})
    assert (answer.status_code, answer.json["code"]) == (409, "task_in_progress")
    assert answer.json["detail"] == "A delete has ended the stop."
    assert (answer.json["task"], answer.json["allowed_actions"]) == ("deleting", ["delete"])
    assert world.get_operation(answer)["status"] == "superseded"


def test_lost_response_is_recovered_during_wait(world: ApiHarness, meanwhile: Any) -> None:
    world.backend.set_faults("lost_answer=1")
    meanwhile(world.run_until_settled)
    answer = create(world, "wait=60")
    assert (answer.status_code, answer.json["status"]) == (201, "STOPPED")


@pytest.mark.parametrize(
    ("action", "status"), [("stop", "STOPPED"), ("pause", "PAUSED"), ("restart", "RUNNING")]
)
def test_cloud_unavailable_at_end_of_change_returns_cached_vm(
    world: ApiHarness, meanwhile: Any, action: str, status: str
) -> None:
    vm_id = world.create_running()

    def settle_and_go() -> None:
        world.run_until_settled()
        world.backend.set_faults("unavailable=100%")

    meanwhile(settle_and_go)
    answer = world.call("POST", f"/vms/{vm_id}/{action}", headers={"Prefer": "wait=60"})
    assert (answer.status_code, answer.json["status"], answer.json["task"]) == (200, status, None)


@pytest.mark.parametrize("start", [True, False])
def test_cloud_unavailable_at_end_of_create_returns_cached_vm(
    world: ApiHarness, meanwhile: Any, *, start: bool
) -> None:
    def settle_and_go() -> None:
        world.run_until_settled()
        world.backend.set_faults("unavailable=100%")

    meanwhile(settle_and_go)
    asked = {**CREATE_BODY, "start": start}
    answer = world.call("POST", "/vms", json=asked, headers={"Prefer": "wait=60"})
    assert (answer.status_code, answer.json["task"]) == (201, None)
    assert answer.json["status"] == ("RUNNING" if start else "STOPPED")


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("wait=100", 60),
        ("wait=999999999", 60),
        ("wait=9999999999", 60),
        ("wait=" + "9" * 5000, 60),
        ("wait=" + "0" * 5000 + "7", 7),
        ("Wait = 5", 5),
        ('wait="7"', 7),
        ("respond-async, wait=9", 9),
        ("wait=3;strict", 3),
        ("wait=4, wait=8", 4),
    ],
)
def test_wait_seconds_are_parsed_and_capped(
    world: ApiHarness, meanwhile: Any, prefer: str, seconds: int
) -> None:
    meanwhile(world.run_until_settled)
    answer = create(world, prefer)
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (201, f"wait={seconds}")


@pytest.mark.parametrize(
    "prefer",
    ["wait", "wait=", "wait=-1", "wait=soon", "wait=1.5", "wait=0", "await=5", "wait=00"],
)
def test_malformed_preference_is_ignored(world: ApiHarness, prefer: str) -> None:
    answer = create(world, prefer)
    assert (answer.status_code, "Preference-Applied" in answer.headers) == (202, False)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/vms"),
        ("GET", f"/vms/{UNKNOWN_ID}"),
        ("POST", f"/vms/{UNKNOWN_ID}/stop"),
        ("POST", "/x"),
    ],
)
def test_preference_applied_is_absent_without_wait(
    world: ApiHarness, method: str, path: str
) -> None:
    answer = world.call(method, path, headers={"Prefer": "wait=5"})
    assert "Preference-Applied" not in answer.headers


@pytest.mark.parametrize("threads", [4])
def test_wait_slots_are_half_the_threads(world: ApiHarness, meanwhile: Any) -> None:
    places = waiting(world).slots
    assert [places.acquire(blocking=False) for _ in range(3)] == [True, True, False]
    answer = create(world, "wait=60")
    assert (answer.status_code, "Preference-Applied" in answer.headers) == (202, False)
    places.release()
    meanwhile(world.run_until_settled)
    answer = world.call("DELETE", f"/vms/{answer.json['id']}", headers={"Prefer": "wait=60"})
    assert answer.status_code == 204


@pytest.mark.parametrize("threads", [8])
def test_one_caller_cannot_take_every_wait_slot(
    world: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    door, told, get = AuthHarness(world), [], waiting(world)._get_operation
    ci, cd = (door.create_token("operator", subject) for subject in ("ci", "cd"))
    coming = [(ci, "web-2"), (ci, "web-3"), (cd, "web-4")]

    def come(token: str, name: str) -> None:
        given: Any = {"json": {**CREATE_BODY, "name": name}, "headers": {"Prefer": "wait=60"}}
        answer = door.call("POST", "/vms", token, **given)
        told.append((name, answer.status_code, answer.headers.get("Preference-Applied")))

    def look(id: str) -> Operation:
        # each comes while those before it wait
        if coming:
            come(*coming.pop(0))
        else:
            world.run_until_settled()
        return get(id)

    monkeypatch.setattr(waiting(world), "_get_operation", look)
    come(ci, "web-1")
    assert told[0] == ("web-3", 202, None)
    assert sorted(told[1:]) == [(f"web-{n}", 201, "wait=60") for n in (1, 2, 4)]


def test_draining_ends_the_wait(world: ApiHarness, meanwhile: Any) -> None:
    meanwhile(world.services.draining.set)
    answer = create(world, "wait=60")
    assert (answer.status_code, "Preference-Applied" in answer.headers) == (202, False)
