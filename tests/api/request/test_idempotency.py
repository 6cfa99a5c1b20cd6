"""Idempotency-Key: a change is carried out once, however often it is asked for."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.api_harness import BASE, CREATE_BODY, ApiHarness
from vmapi import errors
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.lifecycle import Verb
from vmapi.services.operations import submission

slow = pytest.mark.parametrize("latency", ["create=2,delete=2,update=0,*=1"], ids=["slow"])


def keyed(world: ApiHarness, method: str, path: str, key: str = "k", **given: Any) -> TestResponse:
    return world.call(method, path, headers={"Idempotency-Key": key}, **given)


def create(world: ApiHarness, key: str = "k", **wanted: Any) -> TestResponse:
    return keyed(world, "POST", "/vms", key, json={**CREATE_BODY, **wanted})


def check_replay(first: TestResponse, again: TestResponse) -> None:
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Operation-Location"] == first.headers["Operation-Location"]


def test_repeated_create_makes_one_vm(world: ApiHarness) -> None:
    first, again = create(world), create(world)
    check_replay(first, again)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json == first.json
    assert again.headers["Location"] == first.headers["Location"]
    assert len(world.backend.list_vms()) == 1
    assert world.get_json("/operations")["total"] == 1


def test_replay_shows_current_vm(world: ApiHarness) -> None:
    first = create(world)
    world.post_action(first.json["id"], "start")
    again = create(world)
    check_replay(first, again)
    assert (first.json["status"], again.json["status"]) == ("STOPPED", "RUNNING")


@slow
def test_replay_of_unfinished_change_is_202(world: ApiHarness) -> None:
    first, again = create(world), create(world)
    check_replay(first, again)
    assert (again.status_code, again.headers["Retry-After"]) == (202, "1")
    assert again.json == first.json
    world.run_until_settled()
    settled = create(world)
    check_replay(first, settled)
    assert (settled.status_code, settled.json["status"]) == (201, "STOPPED")


def test_repeated_action_patch_and_delete_are_made_once(world: ApiHarness) -> None:
    vm_id = world.create_running()
    for key, method, path, given, status in [
        ("a", "POST", f"/vms/{vm_id}/stop", {}, 200),
        ("b", "PATCH", f"/vms/{vm_id}", {"json": {"name": "web-2"}}, 200),
        ("c", "DELETE", f"/vms/{vm_id}", {}, 204),
    ]:
        first = keyed(world, method, path, key, **given)
        again = keyed(world, method, path, key, **given)
        check_replay(first, again)
        assert (first.status_code, again.status_code) == (status, status)
        assert first.data == again.data
    assert world.get_json("/operations")["total"] == 4


@slow
def test_repeated_delete_after_end_is_replayed(world: ApiHarness) -> None:
    vm_id = world.create_running()
    first = keyed(world, "DELETE", f"/vms/{vm_id}", "d")
    world.clock.sleep(3)
    again = keyed(world, "DELETE", f"/vms/{vm_id}", "d")
    check_replay(first, again)
    assert (first.status_code, again.status_code) == (202, 204)


def test_replay_of_create_with_deleted_vm_is_404(world: ApiHarness) -> None:
    world.call("DELETE", f"/vms/{create(world).json['id']}")
    again = create(world)
    assert (again.status_code, again.json["code"]) == (404, "vm_not_found")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert world.get_operation(again)["status"] == "succeeded"
    assert len(world.backend.list_vms()) == 0


@slow
def test_replay_of_superseded_change_is_409(world: ApiHarness) -> None:
    vm_id = create(world).json["id"]
    world.call("DELETE", f"/vms/{vm_id}")
    again = create(world)
    assert (again.status_code, again.json["code"]) == (409, "task_in_progress")
    assert again.json["detail"] == "A delete has ended the create."
    assert (again.json["current_status"], again.json["task"]) == ("BUILDING", "deleting")
    assert again.headers["Idempotent-Replayed"] == "true"
    world.run_until_settled()
    later = create(world)
    assert (later.status_code, later.json["code"]) == (404, "vm_not_found")
    assert later.json["detail"] == "A delete has ended the create."
    assert world.get_operation(later)["status"] == "superseded"


def test_replay_of_failed_change_returns_its_error(world: ApiHarness) -> None:
    vm_id = world.create_running()
    world.backend.set_faults("action_failed=1")
    first = keyed(world, "POST", f"/vms/{vm_id}/stop")
    again = keyed(world, "POST", f"/vms/{vm_id}/stop")
    assert (first.status_code, again.status_code) == (502, 502)
    assert (first.json["code"], again.json["code"]) == ("backend_error", "backend_error")
    assert ("Idempotent-Replayed" in first.headers, "Idempotent-Replayed" in again.headers) == (
        *(False, True),
    )


def test_key_of_another_request_is_refused(world: ApiHarness) -> None:
    vm_id = create(world).json["id"]
    for method, path, given in [
        ("POST", "/vms", {"json": {**CREATE_BODY, "name": "web-2"}}),
        ("POST", "/vms?x=1", {"json": CREATE_BODY}),
        ("POST", f"/vms/{vm_id}/start", {}),
        ("DELETE", f"/vms/{vm_id}", {}),
        ("PATCH", f"/vms/{vm_id}", {"json": {"name": "web-2"}}),
    ]:
        answer = keyed(world, method, path, **given)
        assert answer.status_code == 422
        if "?" not in path:
            assert answer.json["code"] == "idempotency_key_reused"
    assert world.get_json("/operations")["total"] == 1


def test_refused_request_releases_key(world: ApiHarness) -> None:
    refusals = [
        create(world, name="x"),
        create(world, flavor="m9"),
        create(world, key_name="nobody's"),
    ]
    world.backend.set_faults("unavailable=100%")
    refusals.append(create(world))
    world.backend.set_faults("")
    assert [answer.status_code for answer in refusals] == [422, 422, 422, 503]
    made = create(world)
    assert (made.status_code, "Idempotent-Replayed" in made.headers) == (201, False)
    stop = f"/vms/{made.json['id']}/stop"
    assert keyed(world, "POST", stop, "s").status_code == 409
    world.post_action(made.json["id"], "start")
    assert keyed(world, "POST", stop, "s").status_code == 200


def test_taken_name_releases_key(world: ApiHarness) -> None:
    vm_id = world.create_running()
    assert create(world).json["code"] == "name_taken"
    world.call("DELETE", f"/vms/{vm_id}")
    assert create(world).status_code == 201


def test_refusal_by_cloud_releases_key(world: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise errors.BackendUnavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(world.backend, "create_vm", away)
        assert create(world).status_code == 503
    made = create(world)
    assert (made.status_code, "Idempotent-Replayed" in made.headers) == (201, False)
    first, second = world.get_json("/operations")["items"]
    assert {first["status"], second["status"]} == {"succeeded", "failed"}


def test_key_expires_after_a_day(world: ApiHarness) -> None:
    create(world)
    world.clock.sleep(24 * 3600 - 1)
    assert create(world).headers["Idempotent-Replayed"] == "true"
    world.clock.sleep(1)
    assert create(world).json["code"] == "name_taken"


def test_repeat_of_unanswered_request_is_409(
    world: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "FIRST_RESPONSE_TIMEOUT", 0)
    world.backend.set_faults("lost_answer=1")
    first, again = create(world), create(world)
    assert (first.status_code, again.status_code) == (504, 409)
    assert (again.json["code"], again.headers["Retry-After"]) == ("idempotency_in_progress", "2")
    assert again.json["operation"] == first.json["operation"]
    world.run_until_settled()
    third = create(world)
    assert (third.status_code, third.headers["Idempotent-Replayed"]) == (201, "true")
    assert len(world.backend.list_vms()) == 1


def test_repeat_after_concurrent_refusal_is_executed(
    world: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    vms, looks = world.backend.list_vms, Barrier(2)

    def looked_for(*, name: str | None = None) -> Any:
        looks.wait()
        looks.wait()
        monkeypatch.setattr(world.backend, "list_vms", vms)
        raise errors.BackendUnavailable("away")

    monkeypatch.setattr(world.backend, "list_vms", looked_for)
    of_key = world.services.store.operations.find_by_key
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(create, world)
        looks.wait()

        def bound(key: Any) -> Any:
            found = of_key(key)
            monkeypatch.setattr(world.services.store.operations, "find_by_key", of_key)
            looks.wait()
            return found

        monkeypatch.setattr(world.services.store.operations, "find_by_key", bound)
        again = create(world)
        assert first.result().status_code == 503
    assert (again.status_code, "Idempotent-Replayed" in again.headers) == (201, False)


@pytest.mark.parametrize("threads", [256])
@pytest.mark.parametrize("latency", ["0", "create=1"])
def test_fifty_concurrent_repeats_make_one_vm(world: ApiHarness) -> None:
    everybody = Barrier(50)

    def ask(_: int) -> tuple[int, str, bool]:
        client = world.client
        everybody.wait()
        answer = client.post(f"{BASE}/vms", json=CREATE_BODY, headers={"Idempotency-Key": "k"})
        assert answer.json is not None
        return answer.status_code, answer.json["id"], "Idempotent-Replayed" in answer.headers

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(ask, range(50)))
    (vm,) = world.backend.list_vms()
    assert {vm_id for _, vm_id, _ in answers} == {vm.id}
    assert {status for status, _, _ in answers} <= {201, 202}
    assert Counter(replayed for _, _, replayed in answers) == {True: 49, False: 1}
    assert world.get_json("/operations")["total"] == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "é", "a\x7f", "\t"])
def test_malformed_key_is_refused(world: ApiHarness, key: str) -> None:
    answer = world.call(
        "POST",
        "/vms",
        json=CREATE_BODY,
        headers=[("Idempotency-Key", key.encode().decode("latin-1"))],
    )
    assert (answer.status_code, answer.json["code"]) == (400, "malformed_request")
    assert len(world.backend.list_vms()) == 0


@pytest.mark.parametrize("key", ["x", "x" * 255, '"quoted"', "a b", "~!,;="])
def test_operations_are_listed_by_key(world: ApiHarness, key: str) -> None:
    world.create("other")
    made = create(world, key)
    assert made.status_code == 201
    found = world.get_json("/operations", query_string={"idempotency_key": key})
    assert found["total"] == 1
    assert made.headers["Operation-Location"].endswith(found["items"][0]["id"])
    assert world.get_json("/operations?idempotency_key=nobodys")["total"] == 0


def test_create_with_unknown_outcome_is_sent_once(
    world: ApiHarness, backend: MemoryBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submission, "FIRST_RESPONSE_TIMEOUT", 0)
    sent, make = [], backend.create_vm

    def counted(*given: Any, **more: Any) -> Any:
        sent.append(Verb.CREATE)
        return make(*given, **more)

    monkeypatch.setattr(backend, "create_vm", counted)
    backend.set_faults("lost_answer=1")
    statuses = [create(world).status_code for _ in range(3)]
    world.run_until_settled()
    statuses.append(create(world).status_code)
    assert (statuses, len(sent)) == ([504, 409, 409, 201], 1)
