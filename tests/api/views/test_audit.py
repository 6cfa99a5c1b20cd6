"""GET /audit: the trail as an auditor reads it."""

import json
from typing import Any

import pytest

from tests.support.api_harness import BASE, ApiHarness
from tests.support.audit_rows import audit_rows
from vmapi.api.views.audit import AuditEntrySchema

LINES = {"Accept": "application/x-ndjson"}


@pytest.fixture
def told(world: ApiHarness) -> ApiHarness:
    """A world in which web-1 was made, started and stopped: six entries."""
    vm_id = world.create()["id"]
    world.post_action(vm_id, "start")
    world.post_action(vm_id, "stop")
    assert len(audit_rows(world.app)) == 6
    return world


def story(entries: list[Any]) -> list[tuple[str, str]]:
    return [(each["action"], each["outcome"]) for each in entries]


def test_newest_entries_come_first(told: ApiHarness) -> None:
    found = told.get_json("/audit")
    assert found["next"] is None
    assert story(found["items"]) == [
        *[("stop", "succeeded"), ("stop", "accepted"), ("start", "succeeded")],
        *[("start", "accepted"), ("create", "succeeded"), ("create", "accepted")],
    ]
    newest = found["items"][0]
    (operation,) = told.get_json("/operations?action=stop")["items"]
    assert AuditEntrySchema().validate(newest) == {}
    assert newest == {
        "id": 6,
        "at": operation["finished_at"],
        "user": "anonymous",
        "project": "default",
        "address": "127.0.0.1",
        "action": "stop",
        "vm_id": operation["vm_id"],
        "operation_id": operation["id"],
        "request_id": operation["request_id"],
        "outcome": "succeeded",
        "code": None,
        "token_id": None,
        "position": None,
    }


def test_next_continues_the_list(told: ApiHarness) -> None:
    url, seen = f"{BASE}/audit?page_size=4&user=anonymous", []
    answer = told.client.get(url)
    while True:
        assert answer.json is not None
        seen += answer.json["items"]
        url = answer.json["next"]
        if url is None:
            break
        assert answer.headers["Link"] == f'<{url}>; rel="next"'
        assert "user=anonymous" in url
        answer = told.client.get(url)
    assert "Link" not in answer.headers
    assert [each["id"] for each in seen] == [6, 5, 4, 3, 2, 1]
    assert told.get_json("/audit?page_size=6")["next"] is None


def test_ndjson_has_one_entry_per_line(told: ApiHarness) -> None:
    answer = told.call("GET", "/audit?page_size=4", headers=LINES)
    assert answer.mimetype == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert lines == told.get_json("/audit?page_size=4")["items"]
    assert answer.headers["Link"] == f'<{BASE}/audit?page_size=4&cursor=3>; rel="next"'
    assert told.call("GET", "/audit?user=nobody", headers=LINES).text == ""


@pytest.mark.parametrize(
    ("query", "count"),
    [
        *[("user=anonymous", 6), ("user=alice", 0), ("project=default", 6), ("project=p", 0)],
        *[("action=start", 2), ("outcome=succeeded", 3), ("action=start&outcome=accepted", 1)],
        *[("after=2000-01-01T00:00:00Z", 6), ("before=2000-01-01T00:00:00Z", 0)],
        ("after=2999-01-01T00:00:00Z&before=2000-01-01T00:00:00Z", 0),
    ],
)
def test_filters_select_entries(told: ApiHarness, query: str, count: int) -> None:
    assert len(told.get_json(f"/audit?{query}")["items"]) == count


def test_entries_are_found_by_vm_and_request(told: ApiHarness) -> None:
    (vm,) = told.get_json("/vms")["items"]
    assert len(told.get_json(f"/audit?vm_id={vm['id'].upper()}")["items"]) == 5
    (operation,) = told.get_json("/operations?action=start")["items"]
    found = told.get_json(f"/audit?request_id={operation['request_id']}")["items"]
    assert story(found) == [("start", "succeeded"), ("start", "accepted")]


@pytest.mark.parametrize(
    ("query", "where"),
    [
        *[("page=1", "/page"), ("page_size=0", "/page_size"), ("page_size=1001", "/page_size")],
        *[("cursor=x", "/cursor"), ("cursor=-1", "/cursor"), ("cursor=", "/cursor")],
        *[("outcome=done", "/outcome"), ("user=", "/user"), ("user=%00", "/user")],
        *[("after=yesterday", "/after"), ("before=2026-01-01", "/before")],
        ("user=a&user=b", "/user"),
    ],
)
def test_invalid_parameter_is_refused(told: ApiHarness, query: str, where: str) -> None:
    answer = told.call("GET", f"/audit?{query}")
    assert (answer.status_code, answer.json["code"]) == (422, "validation_error")
    assert [each["pointer"] for each in answer.json["errors"]] == [where]


@pytest.mark.parametrize("cursor", ["xxx", "-1", "", "9" * 30])
def test_malformed_cursor_is_refused(world: ApiHarness, cursor: str) -> None:
    answer = world.call("GET", f"/audit?cursor={cursor}")
    (error,) = answer.json["errors"]
    assert error["message"] == (
        "The cursor is not one that vmapi has issued for this list. "
        "Start again with the first page, and follow next without changes."
    )
    other = world.call("GET", "/vms?cursor=xxx")
    assert other.json["errors"] == [error]


def test_audit_trail_is_read_only(told: ApiHarness) -> None:
    for method in ("POST", "PATCH", "DELETE", "PUT"):
        assert told.call(method, "/audit").status_code == 405
    before = audit_rows(told.app)
    told.get_json("/audit")
    assert audit_rows(told.app) == before
