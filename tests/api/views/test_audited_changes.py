"""The audit entries of changes: request id, user, address and outcome."""

from tests.support.api_harness import CREATE_BODY, ApiHarness
from tests.support.audit_rows import audit_rows
from vmapi.backends.memory.catalog import FLAVORS, IMAGES
from vmapi.domain.vm import CreateSpec


def audit_lines(harness: ApiHarness) -> list[tuple[str, str, str | None, str]]:
    return [(row.action, row.outcome, row.code, row.request_id) for row in audit_rows(harness.app)]


def test_every_change_of_a_vm_is_audited(harness: ApiHarness) -> None:
    vm_id = harness.create()["id"]
    for method, path, body in [
        ("POST", "/start", None),
        ("PATCH", "", {"name": "web-2"}),
        ("DELETE", "", None),
    ]:
        kwargs = {} if body is None else {"json": body}
        headers = {"X-Request-ID": f"{method}-1"}
        response = harness.call(method, f"/vms/{vm_id}{path}", headers=headers, **kwargs)
        assert response.status_code in (200, 204)
    assert audit_lines(harness)[2:] == [
        ("start", "accepted", None, "POST-1"),
        ("start", "succeeded", None, "POST-1"),
        ("update", "accepted", None, "PATCH-1"),
        ("update", "succeeded", None, "PATCH-1"),
        ("delete", "accepted", None, "DELETE-1"),
        ("delete", "succeeded", None, "DELETE-1"),
    ]
    entries = audit_rows(harness.app)
    assert [row.vm_id for row in entries] == [None, *[vm_id] * 7]
    assert {(row.user, row.project, row.address) for row in entries} == {
        ("anonymous", "default", "127.0.0.1")
    }
    operations = {operation["id"] for operation in harness.get_json("/operations")["items"]}
    assert {row.operation_id for row in entries} == operations


def test_every_vm_of_a_bulk_is_audited(harness: ApiHarness) -> None:
    ids = [harness.create_running(f"web-{number}") for number in range(2)]
    before = len(audit_rows(harness.app))
    bulk_body = {"action": "stop", "ids": [*ids, "00000000-0000-4000-8000-000000000000"]}
    headers = {"X-Request-ID": "many-1"}
    assert harness.call("POST", "/vms/actions", json=bulk_body, headers=headers).status_code == 202
    harness.run_until_settled()
    entries = audit_rows(harness.app)[before:]
    assert {(row.vm_id, row.outcome) for row in entries} == {
        (vm_id, outcome) for vm_id in ids for outcome in ("accepted", "succeeded")
    }
    assert len(entries) == 4
    assert {(row.request_id, row.address) for row in entries} == {("many-1", "127.0.0.1")}


def test_refusals_are_audited(harness: ApiHarness) -> None:
    spec = CreateSpec("web-1", min(FLAVORS), min(IMAGES), None, {}, None, None, ())
    harness.backend.create_vm(spec, "another-operation")
    assert harness.post("/vms", CREATE_BODY).status_code == 409
    assert (
        harness.post("/vms", {**CREATE_BODY, "name": "web-2", "key_name": "no"}).status_code == 422
    )
    assert [line[:3] for line in audit_lines(harness)] == [
        ("create", "accepted", None),
        ("create", "refused", "name_taken"),
        ("create", "accepted", None),
        ("create", "failed", "key_not_found"),
    ]


def test_requests_without_effect_are_not_audited(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    before = audit_rows(harness.app)
    harness.get_vm(vm_id)
    harness.get_json("/vms")
    for response, status in [
        (harness.post("/vms", CREATE_BODY), 409),
        (harness.post_action(vm_id, "start"), 409),
        (harness.post("/vms", {"name": "?"}), 422),
        (harness.post_action("00000000-0000-4000-8000-000000000000", "stop"), 404),
    ]:
        assert response.status_code == status
    assert audit_rows(harness.app) == before


def test_replays_are_not_audited(harness: ApiHarness) -> None:
    kwargs = {"json": CREATE_BODY, "headers": {"Idempotency-Key": "k-1"}}
    responses = [harness.call("POST", "/vms", **kwargs) for _ in range(2)]
    assert [response.status_code for response in responses] == [201, 201]
    assert [line[:2] for line in audit_lines(harness)] == [
        ("create", "accepted"),
        ("create", "succeeded"),
    ]
