"""Idempotency-Key: repeated requests make a change once."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.api_harness import BASE, CREATE_BODY, ApiHarness
from tests.support.memory_cloud import slow
from vmapi import errors
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.lifecycle import Verb
from vmapi.services.operations import idempotency


def send_with_key(
    harness: ApiHarness, method: str, path: str, key: str = "k", **kwargs: Any
) -> TestResponse:
    return harness.call(method, path, headers={"Idempotency-Key": key}, **kwargs)


def create(harness: ApiHarness, key: str = "k", **fields: Any) -> TestResponse:
    return send_with_key(harness, "POST", "/vms", key, json={**CREATE_BODY, **fields})


def check_replay(first: TestResponse, again: TestResponse) -> None:
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Operation-Location"] == first.headers["Operation-Location"]


def test_repeated_create_makes_one_vm(harness: ApiHarness) -> None:
    first, again = create(harness), create(harness)
    check_replay(first, again)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json == first.json
    assert again.headers["Location"] == first.headers["Location"]
    assert len(harness.backend.list_vms()) == 1
    assert harness.get_json("/operations")["total"] == 1


def test_replay_shows_current_vm(harness: ApiHarness) -> None:
    first = create(harness)
    harness.post_action(first.json["id"], "start")
    again = create(harness)
    check_replay(first, again)
    assert (first.json["status"], again.json["status"]) == ("STOPPED", "RUNNING")


@slow
def test_replay_of_unfinished_change_is_202(harness: ApiHarness) -> None:
    first, again = create(harness), create(harness)
    check_replay(first, again)
    assert (again.status_code, again.headers["Retry-After"]) == (202, "1")
    assert again.json == first.json
    harness.run_until_settled()
    settled = create(harness)
    check_replay(first, settled)
    assert (settled.status_code, settled.json["status"]) == (201, "STOPPED")


def test_repeated_action_patch_and_delete_are_made_once(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    for key, method, path, kwargs, status in [
        ("a", "POST", f"/vms/{vm_id}/stop", {}, 200),
        ("b", "PATCH", f"/vms/{vm_id}", {"json": {"name": "web-2"}}, 200),
        ("c", "DELETE", f"/vms/{vm_id}", {}, 204),
    ]:
        first = send_with_key(harness, method, path, key, **kwargs)
        again = send_with_key(harness, method, path, key, **kwargs)
        check_replay(first, again)
        assert (first.status_code, again.status_code) == (status, status)
        assert first.data == again.data
    assert harness.get_json("/operations")["total"] == 4


@slow
def test_repeated_delete_after_end_is_replayed(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    first = send_with_key(harness, "DELETE", f"/vms/{vm_id}", "d")
    harness.clock.sleep(3)
    again = send_with_key(harness, "DELETE", f"/vms/{vm_id}", "d")
    check_replay(first, again)
    assert (first.status_code, again.status_code) == (202, 204)


def test_replay_of_create_with_deleted_vm_is_404(harness: ApiHarness) -> None:
    vm_id = create(harness).json["id"]
    harness.call("DELETE", f"/vms/{vm_id}")
    again = create(harness)
    assert (again.status_code, again.json["code"]) == (404, "vm_not_found")
    assert again.json["vm_id"] == vm_id
    assert again.headers["Idempotent-Replayed"] == "true"
    assert harness.get_operation(again)["status"] == "succeeded"
    assert len(harness.backend.list_vms()) == 0


@slow
def test_replay_of_superseded_change_is_409(harness: ApiHarness) -> None:
    vm_id = create(harness).json["id"]
    harness.call("DELETE", f"/vms/{vm_id}")
    again = create(harness)
    assert (again.status_code, again.json["code"]) == (409, "task_in_progress")
    assert again.json["detail"] == "A delete has ended the create."
    assert (again.json["current_status"], again.json["task"]) == ("BUILDING", "deleting")
    assert again.json["vm_id"] == vm_id
    assert again.headers["Idempotent-Replayed"] == "true"
    harness.run_until_settled()
    later = create(harness)
    assert (later.status_code, later.json["code"]) == (404, "vm_not_found")
    assert later.json["detail"].startswith("A delete has ended the create.")
    assert later.json["vm_id"] == vm_id
    assert harness.get_operation(later)["status"] == "superseded"


def test_replay_of_failed_change_returns_its_error(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    harness.backend.set_faults("action_failed=1")
    first = send_with_key(harness, "POST", f"/vms/{vm_id}/stop")
    again = send_with_key(harness, "POST", f"/vms/{vm_id}/stop")
    assert (first.status_code, again.status_code) == (502, 502)
    assert (first.json["code"], again.json["code"]) == ("backend_error", "backend_error")
    assert ("Idempotent-Replayed" in first.headers, "Idempotent-Replayed" in again.headers) == (
        *(False, True),
    )


def test_key_of_another_request_is_refused(harness: ApiHarness) -> None:
    vm_id = create(harness).json["id"]
    for method, path, kwargs in [
        ("POST", "/vms", {"json": {**CREATE_BODY, "name": "web-2"}}),
        ("POST", "/vms?x=1", {"json": CREATE_BODY}),
        ("POST", f"/vms/{vm_id}/start", {}),
        ("DELETE", f"/vms/{vm_id}", {}),
        ("PATCH", f"/vms/{vm_id}", {"json": {"name": "web-2"}}),
    ]:
        response = send_with_key(harness, method, path, **kwargs)
        assert response.status_code == 422
        if "?" not in path:
            assert response.json["code"] == "idempotency_key_reused"
    assert harness.get_json("/operations")["total"] == 1


def test_refused_request_releases_key(harness: ApiHarness) -> None:
    refusals = [
        create(harness, name="x"),
        create(harness, flavor="m9"),
        create(harness, key_name="unknown-key"),
    ]
    harness.backend.set_faults("unavailable=100%")
    refusals.append(create(harness))
    harness.backend.set_faults("")
    assert [response.status_code for response in refusals] == [422, 422, 422, 503]
    created = create(harness)
    assert (created.status_code, "Idempotent-Replayed" in created.headers) == (201, False)
    stop = f"/vms/{created.json['id']}/stop"
    assert send_with_key(harness, "POST", stop, "s").status_code == 409
    harness.post_action(created.json["id"], "start")
    assert send_with_key(harness, "POST", stop, "s").status_code == 200


def test_taken_name_releases_key(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    assert create(harness).json["code"] == "name_taken"
    harness.call("DELETE", f"/vms/{vm_id}")
    assert create(harness).status_code == 201


def test_refusal_by_cloud_releases_key(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_unavailable(*_: object, **__: object) -> None:
        raise errors.BackendUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(harness.backend, "create_vm", raise_unavailable)
        assert create(harness).status_code == 503
    created = create(harness)
    assert (created.status_code, "Idempotent-Replayed" in created.headers) == (201, False)
    first, second = harness.get_json("/operations")["items"]
    assert {first["status"], second["status"]} == {"succeeded", "failed"}


def test_key_expires_after_a_day(harness: ApiHarness) -> None:
    create(harness)
    harness.clock.sleep(24 * 3600 - 1)
    assert create(harness).headers["Idempotent-Replayed"] == "true"
    harness.clock.sleep(1)
    assert create(harness).json["code"] == "name_taken"


def test_repeat_of_unanswered_request_is_409(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "FIRST_RESPONSE_TIMEOUT", 0)
    harness.backend.set_faults("lost_answer=1")
    first, again = create(harness), create(harness)
    assert (first.status_code, again.status_code) == (504, 409)
    assert (again.json["code"], again.headers["Retry-After"]) == ("idempotency_in_progress", "2")
    assert again.json["operation"] == first.json["operation"]
    harness.run_until_settled()
    third = create(harness)
    assert (third.status_code, third.headers["Idempotent-Replayed"]) == (201, "true")
    assert len(harness.backend.list_vms()) == 1


def test_repeat_after_concurrent_refusal_is_executed(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    vms, list_barrier = harness.backend.list_vms, Barrier(2)

    def list_with_barrier(*, name: str | None = None) -> Any:
        list_barrier.wait()
        list_barrier.wait()
        monkeypatch.setattr(harness.backend, "list_vms", vms)
        raise errors.BackendUnavailable("away")

    monkeypatch.setattr(harness.backend, "list_vms", list_with_barrier)
    of_key = harness.services.store.operations.find_by_key
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(create, harness)
        list_barrier.wait()

        def bound(key: Any) -> Any:
            operation = of_key(key)
            monkeypatch.setattr(harness.services.store.operations, "find_by_key", of_key)
            list_barrier.wait()
            return operation

        monkeypatch.setattr(harness.services.store.operations, "find_by_key", bound)
        again = create(harness)
        assert first.result().status_code == 503
    assert (again.status_code, "Idempotent-Replayed" in again.headers) == (201, False)


@pytest.mark.parametrize("threads", [256])
@pytest.mark.parametrize("latency", ["0", "create=1"])
def test_fifty_concurrent_repeats_make_one_vm(harness: ApiHarness) -> None:
    everybody = Barrier(50)

    def ask(_: int) -> tuple[int, str, bool]:
        client = harness.client
        everybody.wait()
        response = client.post(f"{BASE}/vms", json=CREATE_BODY, headers={"Idempotency-Key": "k"})
        assert response.json is not None
        return response.status_code, response.json["id"], "Idempotent-Replayed" in response.headers

    with ThreadPoolExecutor(50) as pool:
        responses = list(pool.map(ask, range(50)))
    (vm,) = harness.backend.list_vms()
    assert {vm_id for _, vm_id, _ in responses} == {vm.id}
    assert {status for status, _, _ in responses} <= {201, 202}
    assert Counter(replayed for _, _, replayed in responses) == {True: 49, False: 1}
    assert harness.get_json("/operations")["total"] == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "a\x7f", "\t"])
def test_malformed_key_is_refused(harness: ApiHarness, key: str) -> None:
    response = harness.call(
        "POST",
        "/vms",
        json=CREATE_BODY,
        headers=[("Idempotency-Key", key.encode().decode("latin-1"))],
    )
    assert (response.status_code, response.json["code"]) == (400, "malformed_request")
    assert len(harness.backend.list_vms()) == 0


@pytest.mark.parametrize("key", ["x", "x" * 255, '"quoted"', "a b", "~!,;="])
def test_operations_are_listed_by_key(harness: ApiHarness, key: str) -> None:
    harness.create("other")
    created = create(harness, key)
    assert created.status_code == 201
    operations = harness.get_json("/operations", query_string={"idempotency_key": key})
    assert operations["total"] == 1
    assert created.headers["Operation-Location"].endswith(operations["items"][0]["id"])
    assert harness.get_json("/operations?idempotency_key=nobodys")["total"] == 0


def test_create_with_unknown_outcome_is_sent_once(
    harness: ApiHarness, backend: MemoryBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "FIRST_RESPONSE_TIMEOUT", 0)
    sent, make = [], backend.create_vm

    def count_create(*args: Any, **kwargs: Any) -> Any:
        sent.append(Verb.CREATE)
        return make(*args, **kwargs)

    monkeypatch.setattr(backend, "create_vm", count_create)
    backend.set_faults("lost_answer=1")
    statuses = [create(harness).status_code for _ in range(3)]
    harness.run_until_settled()
    statuses.append(create(harness).status_code)
    assert (statuses, len(sent)) == ([504, 409, 409, 201], 1)
