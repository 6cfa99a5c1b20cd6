"""POST /vms/actions: an operation or a problem of its own for each VM."""

from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.api_harness import UNKNOWN_ID, ApiHarness
from vmapi.api.views.bulk import BulkResponseSchema
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import Step
from vmapi.domain.vm import VM
from vmapi.services.vms import bulk


def act(world: ApiHarness, key: str | None = None, **body: Any) -> TestResponse:
    headers = {"Idempotency-Key": key} if key else {}
    return world.call("POST", "/vms/actions", json=body, headers=headers)


def items(answer: TestResponse) -> list[Any]:
    assert answer.status_code == 202, answer.text
    assert BulkResponseSchema().validate(answer.json) == {}
    found: list[Any] = answer.json["items"]  # type: ignore[index]
    return found


def test_bulk_starts_one_operation_per_vm(world: ApiHarness) -> None:
    ids = [world.create_running(f"web-{n}") for n in range(5)]
    found = items(act(world, action="stop", ids=ids))
    assert [item["vm_id"] for item in found] == ids
    assert {item["operation"]["status"] for item in found} == {"pending"}
    assert [item["operation"]["vm_id"] for item in found] == ids
    assert {vm["task"] for vm in world.get_json("/vms")["items"]} == {"stopping"}
    world.run_until_settled()
    assert {vm["status"] for vm in world.get_json("/vms")["items"]} == {"STOPPED"}
    for item in found:
        assert world.get_json(f"/operations/{item['operation']['id']}")["status"] == "succeeded"


def test_bulk_reports_problems_per_vm(world: ApiHarness) -> None:
    running, stopped = world.create_running("web-1"), world.create("web-2")["id"]
    world.run_until_settled()
    wanted = [stopped, UNKNOWN_ID, running, "nonsense"]
    found = items(act(world, action="stop", ids=wanted))
    assert [item["vm_id"] for item in found] == wanted
    codes = [item["error"]["code"] if "error" in item else None for item in found]
    assert codes == ["invalid_state", "vm_not_found", None, "vm_not_found"]
    refused = found[0]["error"]
    assert (refused["status"], refused["current_status"]) == (409, "STOPPED")
    assert refused["allowed_actions"] == ["start", "delete"]
    assert world.get_json("/operations?action=stop")["total"] == 1


@pytest.mark.parametrize("action", ["start", "stop", "restart", "pause", "resume", "delete"])
def test_bulk_supports_every_action(world: ApiHarness, action: str) -> None:
    vm_id = world.create_running()
    before = {"start": "stop", "resume": "pause"}.get(action)
    if before:
        world.post_action(vm_id, before)
    (item,) = items(act(world, action=action, ids=[vm_id]))
    assert item["operation"]["action"] == action
    world.run_until_settled()
    operation = world.get_json(f"/operations/{item['operation']['id']}")
    assert operation["status"] == "succeeded"


def test_filter_selects_vms(world: ApiHarness) -> None:
    ids = {world.create_running(f"web-{n}") for n in range(3)}
    other = world.create_running("db-1")
    found = items(act(world, action="stop", filter={"name": "web-*", "status": ["RUNNING"]}))
    assert {item["vm_id"] for item in found} == ids
    world.run_until_settled()
    assert world.get_vm(other)["status"] == "RUNNING"


def test_filter_without_match_returns_no_items(world: ApiHarness) -> None:
    world.create_running()
    assert items(act(world, action="stop", filter={"name": "nothing"})) == []


def test_wildcard_name_selects_every_vm(world: ApiHarness) -> None:
    ids = {world.create_running(f"web-{n}") for n in range(2)}
    found = items(act(world, action="delete", filter={"name": "*"}))
    assert {item["vm_id"] for item in found} == ids
    world.run_until_settled()
    assert world.get_json("/vms")["items"] == []


def test_repeated_id_counts_once(world: ApiHarness) -> None:
    one, two = world.create_running("web-1"), world.create_running("web-2")
    found = items(
        act(world, action="stop", ids=[one, two, one, two.upper(), UNKNOWN_ID, UNKNOWN_ID])
    )
    assert [item["vm_id"] for item in found] == [one, two, UNKNOWN_ID]
    assert [item.get("error", {}).get("code") for item in found] == [None, None, "vm_not_found"]
    assert world.get_json("/operations?action=stop")["total"] == 2


@pytest.mark.parametrize("action", ["start", "delete"])
def test_deleted_vm_is_reported_as_missing(world: ApiHarness, action: str) -> None:
    vm_id = world.create_running()
    world.call("DELETE", f"/vms/{vm_id}")
    world.run_until_settled()
    found = items(act(world, action=action, filter={"status": ["DELETED"]}))
    found += items(act(world, action=action, ids=[vm_id]))
    assert [item["vm_id"] for item in found] == [vm_id, vm_id]
    assert [item["error"]["code"] for item in found] == ["vm_not_found"] * 2
    assert [item["error"]["status"] for item in found] == [404] * 2


def test_vm_changed_concurrently_is_a_conflict(
    world: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm_id, plan = world.create_running(), bulk.guard.plan_steps

    def late(vm: VM, action: Action) -> tuple[Step, ...]:
        monkeypatch.undo()
        items(act(world, action="pause", ids=[vm_id]))
        return plan(vm, action)

    monkeypatch.setattr(bulk.guard, "plan_steps", late)
    (item,) = items(act(world, action="stop", ids=[vm_id]))
    shown = {name: item["error"][name] for name in ("code", "task", "allowed_actions")}
    assert shown == {"code": "task_in_progress", "task": "pausing", "allowed_actions": ["delete"]}


def test_bulk_lists_the_cloud_once(world: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, asked, vms = (
        [world.create_running(f"web-{n}") for n in range(20)],
        [],
        world.backend.list_vms,
    )
    monkeypatch.setattr(world.backend, "list_vms", lambda **_: (asked.append(1), vms())[1])
    monkeypatch.setattr(world.backend, "get_vm", None)
    monkeypatch.setattr(world.backend, "perform_action", None)
    assert len(items(act(world, action="stop", ids=ids))) == 20
    assert len(asked) == 1


def test_key_of_maximum_length_is_accepted(world: ApiHarness) -> None:
    vm_id = world.create_running()
    first = items(act(world, "x" * 255, action="stop", ids=[vm_id]))
    query = {"idempotency_key": f"{'x' * 255} {vm_id}"}
    (found,) = world.get_json("/operations", query_string=query)["items"]
    assert found["id"] == first[0]["operation"]["id"]
    answer = world.call("GET", "/operations", query_string={"idempotency_key": "x" * 301})
    assert (answer.status_code, answer.json["code"]) == (422, "validation_error")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"action": "stop"}, "/ids"),
        ({"action": "stop", "ids": ["1"], "filter": {"name": "*"}}, "/ids"),
        ({"action": "stop", "ids": []}, "/ids"),
        ({"action": "stop", "ids": ["1"] * 1001}, "/ids"),
        ({"action": "stop", "ids": [""]}, "/ids/0"),
        ({"action": "stop", "ids": [1]}, "/ids/0"),
        ({"action": "create", "ids": ["1"]}, "/action"),
        ({"action": "update", "ids": ["1"]}, "/action"),
        ({"ids": ["1"]}, "/action"),
        ({"action": "stop", "filter": {"nmae": "x"}}, "/filter/nmae"),
        ({"action": "stop", "filter": {"status": ["BUSY"]}}, "/filter/status/0"),
        ({"action": "delete", "filter": {"status": []}}, "/filter/status"),
        ({"action": "delete", "filter": {"status": [], "name": "web-*"}}, "/filter/status"),
        ({"action": "delete", "filter": {}}, "/filter"),
        ({"action": "stop", "ids": ["1"], "hard": True}, "/hard"),
    ],
)
def test_invalid_bulk_request_is_refused(world: ApiHarness, body: Any, pointer: str) -> None:
    answer = act(world, **body)
    assert (answer.status_code, answer.json["code"]) == (422, "validation_error")
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]


def test_a_thousand_ids_are_accepted(world: ApiHarness) -> None:
    ids = [f"{UNKNOWN_ID[:-4]}{n:04}" for n in range(1000)]
    assert len(items(act(world, action="stop", ids=ids))) == 1000


def test_unavailable_cloud_is_one_problem(world: ApiHarness) -> None:
    world.backend.set_faults("unavailable=100%")
    answer = act(world, action="stop", ids=[UNKNOWN_ID])
    assert (answer.status_code, answer.json["code"]) == (503, "backend_unavailable")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PATCH", "DELETE", "PUT"])
@pytest.mark.parametrize("path", ["/vms/actions", "/vms/actions/"])
def test_actions_is_not_a_vm_id(world: ApiHarness, method: str, path: str) -> None:
    answer = world.call(method, path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "OPTIONS, POST")
    options = world.call("OPTIONS", path)
    assert sorted(options.headers["Allow"].split(", ")) == ["OPTIONS", "POST"]


def test_urls_below_actions_are_404(world: ApiHarness) -> None:
    answer = world.call("POST", "/vms/actions/start")
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


@pytest.mark.parametrize("vm_id", ["action", "actions-1", "Actions", "actions%0a"])
def test_similar_segment_is_a_vm_id(world: ApiHarness, vm_id: str) -> None:
    answer = world.call("GET", f"/vms/{vm_id}")
    assert (answer.status_code, answer.json["code"]) == (404, "vm_not_found")
