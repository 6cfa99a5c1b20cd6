"""The bulk operation: one operation for the whole, to read, to wait for and to listen to."""

from typing import Any

import pytest
from sqlalchemy import event
from werkzeug.test import TestResponse

from tests.support.api_harness import BASE, UNKNOWN_ID, ApiHarness
from tests.support.project_callers import as_project
from vmapi.api.schemas.operations import OperationSchema
from vmapi.domain.bulk import BulkSummary
from vmapi.store.audit import repository as audit

NO_COUNTS = dict.fromkeys(("pending", "running", "succeeded", "failed", "superseded", "refused"), 0)


def post_bulk(harness: ApiHarness, headers: Any = None, **body: Any) -> TestResponse:
    return harness.call("POST", "/vms/actions", json=body, headers=headers)


def read_bulk(harness: ApiHarness, response: TestResponse) -> Any:
    document = harness.get_operation(response)
    assert OperationSchema().validate(document) == {}
    return document


def bulk_events(harness: ApiHarness) -> list[BulkSummary]:
    log = harness.services.store.events
    log.assign_sequences()
    ended = (event.operation for event in log.read_after(0))
    return [operation for operation in ended if isinstance(operation, BulkSummary)]


def test_bulk_operation_runs_until_all_of_its_operations_are_finished(harness: ApiHarness) -> None:
    ids = [harness.create_running(f"web-{number}") for number in range(3)]
    response = post_bulk(harness, action="stop", ids=ids)
    assert (response.status_code, response.headers["Retry-After"]) == (202, "1")
    assert "Preference-Applied" not in response.headers
    bulk_id = response.json["operation_id"]
    assert response.headers["Operation-Location"] == f"{BASE}/operations/{bulk_id}"
    assert response.json["counts"] == {**NO_COUNTS, "pending": 3}
    parts = [item["operation"] for item in response.json["items"]]
    assert [part["bulk_id"] for part in parts] == [bulk_id] * 3
    for finished in range(3):
        running = read_bulk(harness, response)
        assert (running["status"], running["finished_at"]) == ("running", None)
        assert running["bulk"]["counts"]["succeeded"] == finished
        harness.clock.sleep(1)
        part = harness.services.store.operations.get(parts[finished]["id"])
        harness.services.operations.reconcile(part)
    whole = read_bulk(harness, response)
    assert (whole["id"], whole["action"], whole["vm_id"]) == (bulk_id, "stop", None)
    assert (whole["status"], whole["error"], whole["bulk_id"]) == ("succeeded", None, None)
    assert whole["request_id"] == response.headers["X-Request-ID"]
    assert whole["bulk"] == {
        "counts": {**NO_COUNTS, "succeeded": 3},
        "items": [
            {"vm_id": part["vm_id"], "operation_id": part["id"], "status": "succeeded"}
            for part in parts
        ],
    }
    last = harness.get_json(f"/operations/{parts[2]['id']}")
    assert whole["finished_at"] == last["finished_at"]


def test_bulk_with_refused_or_failed_vms_is_incomplete(harness: ApiHarness) -> None:
    ids = [harness.create_running(f"web-{number}") for number in range(3)]
    harness.post_action(ids[0], "stop")
    harness.backend.set_faults("action_failed=1")
    response = post_bulk(harness, action="stop", ids=[*ids, UNKNOWN_ID])
    harness.run_until_settled()
    whole = read_bulk(harness, response)
    assert whole["bulk"]["counts"] == {**NO_COUNTS, "succeeded": 1, "failed": 1, "refused": 2}
    assert (whole["status"], whole["error"]["code"]) == ("failed", "bulk_incomplete")
    assert whole["error"]["detail"] == "3 of 4 VMs were not changed: 1 failed, 2 refused."
    errors = [item.get("error", {}).get("code") for item in whole["bulk"]["items"]]
    assert errors == ["invalid_state", None, None, "vm_not_found"]
    (summary,) = bulk_events(harness)
    assert (summary.id, summary.status) == (whole["id"], "failed")
    assert summary.counts == whole["bulk"]["counts"]


@pytest.mark.parametrize("body", [{"ids": [UNKNOWN_ID]}, {"filter": {"name": "nothing"}}])
def test_bulk_without_operations_is_finished_at_once(harness: ApiHarness, body: Any) -> None:
    response = post_bulk(harness, {"Prefer": "wait=60"}, action="stop", **body)
    assert (response.status_code, "Retry-After" in response.headers) == (200, False)
    assert response.headers["Preference-Applied"] == "wait=60"
    whole = read_bulk(harness, response)
    assert (
        whole["status"] == response.json["status"] == ("failed" if "ids" in body else "succeeded")
    )
    assert whole["finished_at"] == whole["created_at"]
    assert [summary.id for summary in bulk_events(harness)] == [whole["id"]]


@pytest.fixture
def run_engine_on_notify(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the engine to the end as soon as a bulk request notifies it."""
    operations = harness.services.operations
    monkeypatch.setattr(operations, "_notify_engine", lambda _: harness.run_until_settled())


@pytest.mark.usefixtures("run_engine_on_notify")
def test_bulk_finished_within_wait_returns_final_operations(harness: ApiHarness) -> None:
    ids = [harness.create_running(f"web-{number}") for number in range(3)]
    headers = {"Prefer": "wait=60", "Idempotency-Key": "k"}
    response = post_bulk(harness, headers, action="stop", ids=ids)
    assert (response.status_code, response.headers["Preference-Applied"]) == (200, "wait=60")
    assert "Retry-After" not in response.headers
    assert {item["operation"]["status"] for item in response.json["items"]} == {"succeeded"}
    assert response.json["counts"] == {**NO_COUNTS, "succeeded": 3}
    again = post_bulk(harness, headers, action="stop", ids=ids)
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert again.json["operation_id"] == response.json["operation_id"]


def test_bulk_unfinished_after_wait_is_202(harness: ApiHarness) -> None:
    ids = [harness.create_running()]
    response = post_bulk(harness, {"Prefer": "wait=1"}, action="stop", ids=ids)
    assert (response.status_code, response.headers["Preference-Applied"]) == (202, "wait=1")
    assert response.headers["Retry-After"] == "1"


def test_read_of_a_bulk_operation_waits_for_its_end(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    response = post_bulk(harness, action="stop", ids=[harness.create_running()])
    repository = harness.services.store.operations.bulk
    is_finished = repository.is_finished

    def run_engine(bulk_id: str) -> bool:
        harness.run_until_settled()
        return is_finished(bulk_id)

    monkeypatch.setattr(repository, "is_finished", run_engine)
    path = f"/operations/{response.json['operation_id']}"
    whole = harness.call("GET", path, headers={"Prefer": "wait=60"})
    assert (whole.json["status"], whole.headers["Preference-Applied"]) == ("succeeded", "wait=60")


def test_operations_of_a_request_are_listed_by_its_id(harness: ApiHarness) -> None:
    ids = [harness.create_running(f"web-{number}") for number in range(2)]
    post_bulk(harness, {"X-Request-ID": "many-1"}, action="stop", ids=ids)
    operations = harness.get_json("/operations?request_id=many-1")
    assert operations["total"] == 2
    assert {operation["vm_id"] for operation in operations["items"]} == set(ids)
    assert harness.get_json("/operations?request_id=many-2")["total"] == 0
    assert harness.get_json("/operations?request_id=many-1&action=start")["total"] == 0


def test_delete_that_supersedes_the_last_operations_ends_the_bulk_once(harness: ApiHarness) -> None:
    ids = [harness.create_running(f"web-{number}") for number in range(2)]
    stop = post_bulk(harness, action="stop", ids=ids)
    harness.call("DELETE", f"/vms/{ids[0]}")
    assert bulk_events(harness) == []
    delete = post_bulk(harness, action="delete", ids=ids)
    assert [summary.id for summary in bulk_events(harness)] == [stop.json["operation_id"]]
    harness.run_until_settled()
    assert read_bulk(harness, stop)["bulk"]["counts"] == {**NO_COUNTS, "superseded": 2}
    counts = read_bulk(harness, delete)["bulk"]["counts"]
    assert counts == {**NO_COUNTS, "succeeded": 1, "refused": 1}
    ended = [summary.id for summary in bulk_events(harness)]
    assert ended == [stop.json["operation_id"], delete.json["operation_id"]]


def test_failed_admission_of_a_bulk_leaves_nothing(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [harness.create_running(f"web-{number}") for number in range(3)]
    before = harness.get_json("/operations")["total"]

    def fail(*_: object) -> None:
        raise RuntimeError("the process dies")

    headers = {"Idempotency-Key": "k"}
    with monkeypatch.context() as patched:
        patched.setattr(audit, "append", fail)
        with pytest.raises(RuntimeError):
            post_bulk(harness, headers, action="stop", ids=ids)
    assert harness.get_json("/operations")["total"] == before
    assert {vm["task"] for vm in harness.get_json("/vms")["items"]} == {None}
    response = post_bulk(harness, headers, action="stop", ids=ids)
    assert (response.status_code, "Idempotent-Replayed" in response.headers) == (202, False)


@pytest.mark.parametrize("action", ["stop", "delete"])
def test_number_of_statements_does_not_depend_on_the_number_of_vms(
    harness: ApiHarness, action: str
) -> None:
    engine = harness.services.store.database.engine
    counts = []
    for number in (1, 40):
        prefix = f"{action}-{number}"
        for index in range(number):
            harness.create_running(f"{prefix}-{index}")
        statements: list[str] = []

        def record(_: Any, __: Any, statement: str, *___: Any, to: Any = statements) -> None:
            to.append(statement)

        event.listen(engine, "before_cursor_execute", record)
        response = post_bulk(harness, action=action, filter={"name": f"{prefix}-*"})
        event.remove(engine, "before_cursor_execute", record)
        assert len(response.json["items"]) == number
        counts.append(len(statements))
        harness.run_until_settled()
    # reading the VMs takes one or two more
    assert counts[1] < counts[0] + 5


def test_key_of_a_bulk_is_refused_for_a_change(harness: ApiHarness) -> None:
    vm_id, key = harness.create_running(), {"Idempotency-Key": "k"}
    assert post_bulk(harness, key, action="stop", ids=[vm_id]).status_code == 202
    harness.run_until_settled()
    response = harness.call("POST", f"/vms/{vm_id}/start", headers=key)
    assert (response.status_code, response.json["code"]) == (422, "idempotency_key_reused")


def test_bulk_operation_belongs_to_the_project_of_its_caller(harness: ApiHarness) -> None:
    with as_project(harness, "default"):
        own = post_bulk(harness, action="stop", ids=[harness.create_running()])
        harness.run_until_settled()
    with as_project(harness, "other"):
        path = f"/operations/{own.json['operation_id']}"
        response = harness.call("GET", path)
        assert (response.status_code, response.json["code"]) == (404, "operation_not_found")
        harness.create_running("web-2")
    # without a project the caller sees all VMs: no project sees the ids and names of the others
    everything = post_bulk(harness, action="delete", filter={"name": "*"})
    harness.run_until_settled()
    assert read_bulk(harness, everything)["bulk"]["counts"]["succeeded"] == 2
    for project in ("default", "other"):
        with as_project(harness, project):
            path = f"/operations/{everything.json['operation_id']}"
            assert harness.call("GET", path).status_code == 404


def test_key_of_a_change_is_refused_for_a_bulk(harness: ApiHarness) -> None:
    vm_id, key = harness.create_running(), {"Idempotency-Key": "k"}
    assert harness.call("POST", f"/vms/{vm_id}/stop", headers=key).status_code == 200
    response = post_bulk(harness, key, action="start", ids=[vm_id])
    assert (response.status_code, response.json["code"]) == (422, "idempotency_key_reused")


def test_filter_selects_vms_of_several_pages(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmapi.services.inventory.reader.MAX_PAGE_SIZE", 2)
    ids = {harness.create_running(f"web-{number}") for number in range(5)}
    response = post_bulk(harness, action="stop", filter={"name": "web-*"})
    assert {item["vm_id"] for item in response.json["items"]} == ids


def test_filter_selects_live_vms_without_a_scan_of_the_table(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the index of the live VMs serves a filter")

    vm_id = harness.create_running("web-1")
    monkeypatch.setattr("vmapi.store.inventory.statements.select_page", refuse)
    response = post_bulk(harness, action="stop", filter={"selector": "!keep"})
    assert [item["vm_id"] for item in response.json["items"]] == [vm_id]


def test_filter_of_too_many_vms_is_refused(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmapi.services.vms.bulk.MAX_BULK_VMS", 1)
    for number in range(2):
        harness.create_running(f"web-{number}")
    response = post_bulk(harness, action="delete", filter={"name": "*"})
    message = "Matches 2 VMs; at most 1 are allowed."
    assert (response.status_code, response.json["code"]) == (422, "validation_error")
    assert response.json["errors"] == [{"pointer": "/filter", "message": message}]
    assert harness.get_json("/operations?action=delete")["total"] == 0
