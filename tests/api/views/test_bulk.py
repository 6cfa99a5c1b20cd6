"""POST /vms/actions: an operation or a problem for each VM."""

from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.api_harness import UNKNOWN_ID, ApiHarness
from vmapi.api.schemas.bulk import BulkResponseSchema
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import Step
from vmapi.domain.vm import VM
from vmapi.services.vms import bulk


def post_bulk(harness: ApiHarness, key: str | None = None, **body: Any) -> TestResponse:
    headers = {"Idempotency-Key": key} if key else {}
    return harness.call("POST", "/vms/actions", json=body, headers=headers)


def bulk_items(response: TestResponse) -> list[Any]:
    is_finished = response.json["status"] != "running"
    assert response.status_code == (200 if is_finished else 202), response.text
    assert BulkResponseSchema().validate(response.json) == {}
    items: list[Any] = response.json["items"]
    return items


def test_bulk_starts_one_operation_per_vm(harness: ApiHarness) -> None:
    ids = [harness.create_running(f"web-{n}") for n in range(5)]
    items = bulk_items(post_bulk(harness, action="stop", ids=ids))
    assert [item["vm_id"] for item in items] == ids
    assert {item["operation"]["status"] for item in items} == {"pending"}
    assert [item["operation"]["vm_id"] for item in items] == ids
    assert {vm["task"] for vm in harness.get_json("/vms")["items"]} == {"stopping"}
    harness.run_until_settled()
    assert {vm["status"] for vm in harness.get_json("/vms")["items"]} == {"STOPPED"}
    for item in items:
        assert harness.get_json(f"/operations/{item['operation']['id']}")["status"] == "succeeded"


def test_bulk_reports_problems_per_vm(harness: ApiHarness) -> None:
    running, stopped = harness.create_running("web-1"), harness.create("web-2")["id"]
    harness.run_until_settled()
    requested_ids = [stopped, UNKNOWN_ID, running, "nonsense"]
    items = bulk_items(post_bulk(harness, action="stop", ids=requested_ids))
    assert [item["vm_id"] for item in items] == requested_ids
    codes = [item["error"]["code"] if "error" in item else None for item in items]
    assert codes == ["invalid_state", "vm_not_found", None, "vm_not_found"]
    refused = items[0]["error"]
    assert (refused["status"], refused["current_status"]) == (409, "STOPPED")
    assert refused["allowed_actions"] == ["start", "delete"]
    assert harness.get_json("/operations?action=stop")["total"] == 1


@pytest.mark.parametrize("action", ["start", "stop", "restart", "pause", "resume", "delete"])
def test_bulk_supports_every_action(harness: ApiHarness, action: str) -> None:
    vm_id = harness.create_running()
    before = {"start": "stop", "resume": "pause"}.get(action)
    if before:
        harness.post_action(vm_id, before)
    (item,) = bulk_items(post_bulk(harness, action=action, ids=[vm_id]))
    assert item["operation"]["action"] == action
    harness.run_until_settled()
    operation = harness.get_json(f"/operations/{item['operation']['id']}")
    assert operation["status"] == "succeeded"


def test_filter_selects_vms(harness: ApiHarness) -> None:
    ids = {harness.create_running(f"web-{n}") for n in range(3)}
    other = harness.create_running("db-1")
    items = bulk_items(
        post_bulk(harness, action="stop", filter={"name": "web-*", "status": ["RUNNING"]})
    )
    assert {item["vm_id"] for item in items} == ids
    harness.run_until_settled()
    assert harness.get_vm(other)["status"] == "RUNNING"


def test_filter_without_match_returns_no_items(harness: ApiHarness) -> None:
    harness.create_running()
    assert bulk_items(post_bulk(harness, action="stop", filter={"name": "nothing"})) == []


def test_wildcard_name_selects_every_vm(harness: ApiHarness) -> None:
    ids = {harness.create_running(f"web-{n}") for n in range(2)}
    items = bulk_items(post_bulk(harness, action="delete", filter={"name": "*"}))
    assert {item["vm_id"] for item in items} == ids
    harness.run_until_settled()
    assert harness.get_json("/vms")["items"] == []


def test_repeated_id_counts_once(harness: ApiHarness) -> None:
    first_id, second_id = harness.create_running("web-1"), harness.create_running("web-2")
    items = bulk_items(
        post_bulk(
            harness,
            action="stop",
            ids=[first_id, second_id, first_id, second_id.upper(), UNKNOWN_ID, UNKNOWN_ID],
        )
    )
    assert [item["vm_id"] for item in items] == [first_id, second_id, UNKNOWN_ID]
    assert [item.get("error", {}).get("code") for item in items] == [None, None, "vm_not_found"]
    assert harness.get_json("/operations?action=stop")["total"] == 2


@pytest.mark.parametrize("action", ["start", "delete"])
def test_deleted_vm_is_reported_as_missing(harness: ApiHarness, action: str) -> None:
    vm_id = harness.create_running()
    harness.call("DELETE", f"/vms/{vm_id}")
    harness.run_until_settled()
    items = bulk_items(post_bulk(harness, action=action, filter={"status": ["DELETED"]}))
    items += bulk_items(post_bulk(harness, action=action, ids=[vm_id]))
    assert [item["vm_id"] for item in items] == [vm_id, vm_id]
    assert [item["error"]["code"] for item in items] == ["vm_not_found"] * 2
    assert [item["error"]["status"] for item in items] == [404] * 2


def test_vm_changed_concurrently_is_a_conflict(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm_id, plan = harness.create_running(), bulk.preconditions.plan_steps

    def refuse(vm: VM, action: Action) -> tuple[Step, ...]:
        monkeypatch.undo()
        bulk_items(post_bulk(harness, action="pause", ids=[vm_id]))
        return plan(vm, action)

    monkeypatch.setattr(bulk.preconditions, "plan_steps", refuse)
    (item,) = bulk_items(post_bulk(harness, action="stop", ids=[vm_id]))
    members = {name: item["error"][name] for name in ("code", "task", "allowed_actions")}
    assert members == {"code": "task_in_progress", "task": "pausing", "allowed_actions": ["delete"]}


def test_bulk_reads_no_unchanged_vm_from_the_cloud(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [harness.create_running(f"web-{n}") for n in range(20)]
    for name in ("list_vms", "get_vm", "perform_action"):
        monkeypatch.setattr(harness.backend, name, None)
    assert len(bulk_items(post_bulk(harness, action="stop", ids=ids))) == 20


def test_key_of_maximum_length_is_accepted(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    first = bulk_items(post_bulk(harness, "x" * 255, action="stop", ids=[vm_id]))
    query = {"idempotency_key": f"{'x' * 255} {vm_id}"}
    (operation,) = harness.get_json("/operations", query_string=query)["items"]
    assert operation["id"] == first[0]["operation"]["id"]
    response = harness.call("GET", "/operations", query_string={"idempotency_key": "x" * 301})
    assert (response.status_code, response.json["code"]) == (422, "validation_error")


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
def test_invalid_bulk_request_is_refused(harness: ApiHarness, body: Any, pointer: str) -> None:
    response = post_bulk(harness, **body)
    assert (response.status_code, response.json["code"]) == (422, "validation_error")
    assert [error["pointer"] for error in response.json["errors"]] == [pointer]


def test_a_thousand_ids_are_accepted(harness: ApiHarness) -> None:
    ids = [f"{UNKNOWN_ID[:-4]}{n:04}" for n in range(1000)]
    assert len(bulk_items(post_bulk(harness, action="stop", ids=ids))) == 1000


def test_unavailable_cloud_fails_the_whole_bulk_request(harness: ApiHarness) -> None:
    harness.backend.set_faults("unavailable=100%")
    response = post_bulk(harness, action="stop", ids=[UNKNOWN_ID])
    assert (response.status_code, response.json["code"]) == (503, "backend_unavailable")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PATCH", "DELETE", "PUT"])
@pytest.mark.parametrize("path", ["/vms/actions", "/vms/actions/"])
def test_actions_is_not_a_vm_id(harness: ApiHarness, method: str, path: str) -> None:
    response = harness.call(method, path)
    assert (response.status_code, response.headers["Allow"]) == (405, "OPTIONS, POST")
    options = harness.call("OPTIONS", path)
    assert sorted(options.headers["Allow"].split(", ")) == ["OPTIONS", "POST"]


def test_urls_below_actions_are_404(harness: ApiHarness) -> None:
    response = harness.call("POST", "/vms/actions/start")
    assert (response.status_code, response.json["code"]) == (404, "not_found")


@pytest.mark.parametrize("vm_id", ["action", "actions-1", "Actions", "actions%0a"])
def test_segment_similar_to_actions_is_a_vm_id(harness: ApiHarness, vm_id: str) -> None:
    response = harness.call("GET", f"/vms/{vm_id}")
    assert (response.status_code, response.json["code"]) == (404, "vm_not_found")
