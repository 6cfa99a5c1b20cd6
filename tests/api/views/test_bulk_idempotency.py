"""POST /vms/actions with an Idempotency-Key: repeats use the VMs of the first."""

from datetime import timedelta
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.api_harness import UNKNOWN_ID, ApiHarness
from vmapi.domain.access.caller import IDEMPOTENCY_KEY_TTL

RUNNING = {"action": "stop", "filter": {"status": ["RUNNING"]}}


def post_bulk(harness: ApiHarness, body: Any, key: str = "k") -> TestResponse:
    return harness.call("POST", "/vms/actions", json=body, headers={"Idempotency-Key": key})


def bulk_items(response: TestResponse) -> list[Any]:
    assert response.status_code in (200, 202), response.text
    items: list[Any] = response.json["items"]
    return items


def is_replayed(response: TestResponse) -> bool:
    return response.headers.get("Idempotent-Replayed") == "true"


def as_replayed(items: list[Any]) -> list[Any]:
    """Return the expected items of a repeat with unchanged operations."""
    return [{**item, "replayed": True} if "operation" in item else item for item in items]


def test_repeated_bulk_is_replayed(harness: ApiHarness) -> None:
    ids = [harness.create_running(f"web-{n}") for n in range(3)]
    bulk_body = {"action": "stop", "ids": ids}
    first = post_bulk(harness, bulk_body)
    assert not is_replayed(first)
    assert not any("replayed" in item for item in bulk_items(first))
    second = post_bulk(harness, bulk_body)
    assert (bulk_items(second), is_replayed(second)) == (as_replayed(bulk_items(first)), True)
    harness.run_until_settled()
    third = bulk_items(post_bulk(harness, bulk_body))
    assert [item["operation"]["status"] for item in third] == ["succeeded"] * 3
    assert harness.get_json("/operations?action=stop")["total"] == 3


@pytest.mark.parametrize("bulk_is_first", [True, False])
def test_key_of_a_vm_in_a_bulk_action_is_no_key_of_a_client(
    harness: ApiHarness, bulk_is_first: bool
) -> None:
    vm_id = harness.create_running()
    key = f"k {vm_id}"

    def restart() -> TestResponse:
        headers = {"Idempotency-Key": key}
        return harness.call("POST", f"/vms/{vm_id}/restart", headers=headers)

    def post() -> TestResponse:
        return post_bulk(harness, {"action": "restart", "ids": [vm_id]})

    for send in (post, restart) if bulk_is_first else (restart, post):
        response = send()
        assert response.status_code in (200, 202), response.text
        assert not is_replayed(response)
        harness.run_until_settled()
        assert is_replayed(send())
    operations = harness.get_json("/operations", query_string={"idempotency_key": key})
    assert operations["total"] == 2


def test_refusals_are_replayed(harness: ApiHarness) -> None:
    vm_id = harness.create_running()
    bulk_body = {"action": "pause", "ids": [vm_id, UNKNOWN_ID]}
    harness.post_action(vm_id, "stop")
    first = post_bulk(harness, bulk_body)
    codes = [item["error"]["code"] for item in bulk_items(first)]
    assert codes == ["invalid_state", "vm_not_found"]
    harness.post_action(vm_id, "start")
    second = post_bulk(harness, bulk_body)
    assert (bulk_items(second), is_replayed(second)) == (bulk_items(first), True)
    assert harness.get_vm(vm_id)["status"] == "RUNNING"


def test_repeat_uses_vms_of_first_request(harness: ApiHarness) -> None:
    ids = {harness.create_running(f"web-{n}") for n in range(2)}
    first = bulk_items(post_bulk(harness, RUNNING))
    harness.run_until_settled()
    other = harness.create_running("web-3")
    second = post_bulk(harness, RUNNING)
    assert is_replayed(second)
    assert {item["vm_id"] for item in bulk_items(second)} == ids
    was = [item["operation"]["id"] for item in first]
    assert [item["operation"]["id"] for item in bulk_items(second)] == was
    assert {item["operation"]["status"] for item in bulk_items(second)} == {"succeeded"}
    harness.run_until_settled()
    assert harness.get_vm(other)["status"] == "RUNNING"


def test_repeat_after_deletion_is_replayed(harness: ApiHarness) -> None:
    harness.create_running()
    bulk_body = {"action": "delete", "filter": {"name": "web-*"}}
    first = bulk_items(post_bulk(harness, bulk_body))
    harness.run_until_settled()
    harness.create_running("web-2")
    second = post_bulk(harness, bulk_body)
    (item,) = bulk_items(second)
    assert is_replayed(second)
    assert item["operation"]["id"] == first[0]["operation"]["id"]
    assert item["operation"]["status"] == "succeeded"
    assert harness.get_json("/vms")["total"] == 1


def test_repeat_of_empty_selection_stays_empty(harness: ApiHarness) -> None:
    assert bulk_items(post_bulk(harness, RUNNING)) == []
    vm_id = harness.create_running()
    second = post_bulk(harness, RUNNING)
    assert (bulk_items(second), is_replayed(second)) == ([], True)
    assert harness.get_vm(vm_id)["status"] == "RUNNING"
    assert len(bulk_items(post_bulk(harness, RUNNING, "other"))) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"action": "start", "filter": {"status": ["RUNNING"]}},
        {"action": "stop", "filter": {"status": ["STOPPED"]}},
        {"action": "stop", "ids": [UNKNOWN_ID]},
    ],
)
def test_key_of_another_bulk_is_refused(harness: ApiHarness, other: Any) -> None:
    vm_id = harness.create_running()
    by_id = {"action": "stop", "ids": [vm_id]}
    for key, first in (("k", RUNNING), ("l", by_id)):
        bulk_items(post_bulk(harness, first, key))
        response = post_bulk(harness, other, key)
        assert (response.status_code, response.json["code"]) == (422, "idempotency_key_reused")
    harness.run_until_settled()
    assert harness.get_json("/operations?action=start")["total"] == 0
    assert harness.get_json("/operations?action=stop")["total"] == 1


def test_key_expires_after_a_day(harness: ApiHarness) -> None:
    first = harness.create_running()
    bulk_items(post_bulk(harness, RUNNING))
    harness.run_until_settled()
    second = harness.create_running("web-2")
    harness.clock.now += IDEMPOTENCY_KEY_TTL - timedelta(seconds=60)
    assert [item["vm_id"] for item in bulk_items(post_bulk(harness, RUNNING))] == [first]
    harness.clock.now += timedelta(seconds=60)
    response = post_bulk(harness, RUNNING)
    assert [item["vm_id"] for item in bulk_items(response)] == [second]
    assert not is_replayed(response)


def test_key_of_maximum_length_is_accepted(harness: ApiHarness) -> None:
    bulk_body = {"action": "stop", "ids": [harness.create_running()]}
    first = bulk_items(post_bulk(harness, bulk_body, "x" * 255))
    assert bulk_items(post_bulk(harness, bulk_body, "x" * 255)) == as_replayed(first)
