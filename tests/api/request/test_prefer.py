"""Prefer: wait=N delays the response until the operation finishes."""

from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.api_harness import CREATE_BODY, UNKNOWN_ID, ApiHarness
from tests.support.auth_harness import AuthHarness
from tests.support.memory_cloud import slow
from vmapi.services.operations import waiting

pytestmark = slow


def create(harness: ApiHarness, prefer: str) -> TestResponse:
    return harness.call("POST", "/vms", json=CREATE_BODY, headers={"Prefer": prefer})


@pytest.fixture
def run_during_wait(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a function whenever a waiting request is about to read its operation."""
    waiter = harness.services.waiter
    get_operation = waiter.get_operation

    def run_and_get(run: Callable[[], object]) -> None:
        monkeypatch.setattr(waiter, "get_operation", lambda id: (run(), get_operation(id))[1])

    monkeypatch.setattr(waiting, "OPERATION_POLL_INTERVAL", 0.01)
    return run_and_get


def test_change_finished_within_wait_returns_vm(harness: ApiHarness, run_during_wait: Any) -> None:
    run_during_wait(harness.run_until_settled)
    created = create(harness, "wait=60")
    assert (created.status_code, created.headers["Preference-Applied"]) == (201, "wait=60")
    assert (created.json["status"], created.json["task"]) == ("STOPPED", None)
    vm_id = created.json["id"]
    for method, path, status in [("POST", "/start", 200), ("DELETE", "", 204)]:
        response = harness.call(method, f"/vms/{vm_id}{path}", headers={"Prefer": "wait=60"})
        assert (response.status_code, response.headers["Preference-Applied"]) == (status, "wait=60")


def test_get_operation_waits_until_finished(harness: ApiHarness, run_during_wait: Any) -> None:
    created = harness.call("POST", "/vms", json=CREATE_BODY)
    path = "/operations/" + created.headers["Operation-Location"].rpartition("/")[2]
    plain = harness.call("GET", path)
    assert (plain.json["status"], "Preference-Applied" in plain.headers) == ("running", False)
    run_during_wait(harness.run_until_settled)
    response = harness.call("GET", path, headers={"Prefer": "wait=60"})
    assert response.json["status"] == "succeeded"
    assert response.headers["Preference-Applied"] == "wait=60"


def test_change_unfinished_after_wait_returns_202(harness: ApiHarness) -> None:
    response = create(harness, "wait=1")
    assert (response.status_code, response.headers["Preference-Applied"]) == (202, "wait=1")
    assert response.headers["Retry-After"] == "1"


def test_failure_during_wait_is_returned(harness: ApiHarness, run_during_wait: Any) -> None:
    vm_id = harness.create_running()
    harness.backend.set_faults("action_failed=1")
    run_during_wait(harness.run_until_settled)
    response = harness.call("POST", f"/vms/{vm_id}/stop", headers={"Prefer": "wait=60"})
    assert (response.status_code, response.json["code"]) == (502, "backend_error")
    assert response.json["vm_id"] == vm_id
    assert harness.get_operation(response)["status"] == "failed"


def test_operation_superseded_during_wait_is_returned(
    harness: ApiHarness, run_during_wait: Any
) -> None:
    vm_id = harness.create_running()
    pending_actions = ["delete"]

    def once() -> None:
        if pending_actions:
            pending_actions.clear()
            harness.call("DELETE", f"/vms/{vm_id}")

    run_during_wait(once)
    response = harness.call("POST", f"/vms/{vm_id}/stop", headers={"Prefer": "wait=60"})
    assert (response.status_code, response.json["code"]) == (409, "task_in_progress")
    assert response.json["detail"] == "A delete has ended the stop."
    assert (response.json["task"], response.json["allowed_actions"]) == ("deleting", ["delete"])
    assert harness.get_operation(response)["status"] == "superseded"


def test_lost_response_is_recovered_during_wait(harness: ApiHarness, run_during_wait: Any) -> None:
    harness.backend.set_faults("lost_answer=1")
    run_during_wait(harness.run_until_settled)
    response = create(harness, "wait=60")
    assert (response.status_code, response.json["status"]) == (201, "STOPPED")


@pytest.mark.parametrize(
    ("action", "status"), [("stop", "STOPPED"), ("pause", "PAUSED"), ("restart", "RUNNING")]
)
def test_cloud_unavailable_at_end_of_change_returns_cached_vm(
    harness: ApiHarness, run_during_wait: Any, action: str, status: str
) -> None:
    vm_id = harness.create_running()

    def finish_and_disconnect() -> None:
        harness.run_until_settled()
        harness.backend.set_faults("unavailable=100%")

    run_during_wait(finish_and_disconnect)
    response = harness.call("POST", f"/vms/{vm_id}/{action}", headers={"Prefer": "wait=60"})
    assert (response.status_code, response.json["status"], response.json["task"]) == (
        200,
        status,
        None,
    )


@pytest.mark.parametrize("start", [True, False])
def test_cloud_unavailable_at_end_of_create_returns_cached_vm(
    harness: ApiHarness, run_during_wait: Any, *, start: bool
) -> None:
    def finish_and_disconnect() -> None:
        harness.run_until_settled()
        harness.backend.set_faults("unavailable=100%")

    run_during_wait(finish_and_disconnect)
    create_body = {**CREATE_BODY, "start": start}
    response = harness.call("POST", "/vms", json=create_body, headers={"Prefer": "wait=60"})
    assert (response.status_code, response.json["task"]) == (201, None)
    assert response.json["status"] == ("RUNNING" if start else "STOPPED")


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
    harness: ApiHarness, run_during_wait: Any, prefer: str, seconds: int
) -> None:
    run_during_wait(harness.run_until_settled)
    response = create(harness, prefer)
    assert (response.status_code, response.headers["Preference-Applied"]) == (
        201,
        f"wait={seconds}",
    )


@pytest.mark.parametrize(
    "prefer",
    ["wait", "wait=", "wait=-1", "wait=soon", "wait=1.5", "wait=0", "await=5", "wait=00"],
)
def test_malformed_preference_is_ignored(harness: ApiHarness, prefer: str) -> None:
    response = create(harness, prefer)
    assert (response.status_code, "Preference-Applied" in response.headers) == (202, False)


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
    harness: ApiHarness, method: str, path: str
) -> None:
    response = harness.call(method, path, headers={"Prefer": "wait=5"})
    assert "Preference-Applied" not in response.headers


@pytest.mark.parametrize("threads", [4])
def test_wait_slots_are_half_the_threads(harness: ApiHarness, run_during_wait: Any) -> None:
    slots = harness.services.waiter.slots
    assert [slots.acquire(blocking=False) for _ in range(3)] == [True, True, False]
    response = create(harness, "wait=60")
    assert (response.status_code, "Preference-Applied" in response.headers) == (202, False)
    slots.release()
    run_during_wait(harness.run_until_settled)
    response = harness.call("DELETE", f"/vms/{response.json['id']}", headers={"Prefer": "wait=60"})
    assert response.status_code == 204


@pytest.mark.parametrize("threads", [8])
def test_one_caller_cannot_take_every_wait_slot(harness: ApiHarness, run_during_wait: Any) -> None:
    auth_harness, results = AuthHarness(harness), []
    ci, cd = (auth_harness.create_token("operator", subject) for subject in ("ci", "cd"))
    coming = [(ci, "web-2"), (ci, "web-3"), (cd, "web-4")]

    def send_create(token: str, name: str) -> None:
        kwargs: Any = {"json": {**CREATE_BODY, "name": name}, "headers": {"Prefer": "wait=60"}}
        response = auth_harness.call("POST", "/vms", token, **kwargs)
        results.append((name, response.status_code, response.headers.get("Preference-Applied")))

    def send_next() -> None:
        # each request arrives while the earlier ones wait
        if coming:
            send_create(*coming.pop(0))
        else:
            harness.run_until_settled()

    run_during_wait(send_next)
    send_create(ci, "web-1")
    assert results[0] == ("web-3", 202, None)
    assert sorted(results[1:]) == [(f"web-{n}", 201, "wait=60") for n in (1, 2, 4)]


def test_draining_ends_the_wait(harness: ApiHarness, run_during_wait: Any) -> None:
    run_during_wait(harness.services.draining.set)
    response = create(harness, "wait=60")
    assert (response.status_code, "Preference-Applied" in response.headers) == (202, False)
