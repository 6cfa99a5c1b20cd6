"""GET /audit: order, pages, formats and filters."""

import json
from typing import Any

import pytest

from tests.support.api_harness import BASE, ApiHarness
from tests.support.audit_rows import audit_rows
from vmapi.api.views.audit import AuditEntrySchema

LINES = {"Accept": "application/x-ndjson"}


@pytest.fixture
def audited(harness: ApiHarness) -> ApiHarness:
    """A harness in which web-1 was created, started and stopped: six entries."""
    vm_id = harness.create()["id"]
    harness.post_action(vm_id, "start")
    harness.post_action(vm_id, "stop")
    assert len(audit_rows(harness.app)) == 6
    return harness


def actions_and_outcomes(entries: list[Any]) -> list[tuple[str, str]]:
    return [(entry["action"], entry["outcome"]) for entry in entries]


def test_newest_entries_come_first(audited: ApiHarness) -> None:
    page = audited.get_json("/audit")
    assert page["next"] is None
    assert actions_and_outcomes(page["items"]) == [
        *[("stop", "succeeded"), ("stop", "accepted"), ("start", "succeeded")],
        *[("start", "accepted"), ("create", "succeeded"), ("create", "accepted")],
    ]
    newest = page["items"][0]
    (operation,) = audited.get_json("/operations?action=stop")["items"]
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
        "reason": None,
        "position": None,
    }


def test_next_continues_the_list(audited: ApiHarness) -> None:
    url, seen = f"{BASE}/audit?page_size=4&user=anonymous", []
    response = audited.client.get(url)
    while True:
        assert response.json is not None
        seen += response.json["items"]
        url = response.json["next"]
        if url is None:
            break
        assert response.headers["Link"] == f'<{url}>; rel="next"'
        assert "user=anonymous" in url
        response = audited.client.get(url)
    assert "Link" not in response.headers
    assert [entry["id"] for entry in seen] == [6, 5, 4, 3, 2, 1]
    assert audited.get_json("/audit?page_size=6")["next"] is None


def test_ndjson_has_one_entry_per_line(audited: ApiHarness) -> None:
    response = audited.call("GET", "/audit?page_size=4", headers=LINES)
    assert response.mimetype == "application/x-ndjson"
    lines = [json.loads(line) for line in response.text.splitlines()]
    assert lines == audited.get_json("/audit?page_size=4")["items"]
    assert response.headers["Link"] == f'<{BASE}/audit?page_size=4&cursor=3>; rel="next"'
    assert audited.call("GET", "/audit?user=unknown", headers=LINES).text == ""


@pytest.mark.parametrize(
    ("query", "count"),
    [
        *[("user=anonymous", 6), ("user=alice", 0), ("project=default", 6), ("project=p", 0)],
        *[("action=start", 2), ("outcome=succeeded", 3), ("action=start&outcome=accepted", 1)],
        *[("after=2000-01-01T00:00:00Z", 6), ("before=2000-01-01T00:00:00Z", 0)],
        ("after=2999-01-01T00:00:00Z&before=2000-01-01T00:00:00Z", 0),
    ],
)
def test_filters_select_entries(audited: ApiHarness, query: str, count: int) -> None:
    assert len(audited.get_json(f"/audit?{query}")["items"]) == count


def test_entries_are_found_by_vm_and_request(audited: ApiHarness) -> None:
    (vm,) = audited.get_json("/vms")["items"]
    assert len(audited.get_json(f"/audit?vm_id={vm['id'].upper()}")["items"]) == 5
    (operation,) = audited.get_json("/operations?action=start")["items"]
    entries = audited.get_json(f"/audit?request_id={operation['request_id']}")["items"]
    assert actions_and_outcomes(entries) == [("start", "succeeded"), ("start", "accepted")]


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
def test_invalid_parameter_is_refused(audited: ApiHarness, query: str, where: str) -> None:
    response = audited.call("GET", f"/audit?{query}")
    assert (response.status_code, response.json["code"]) == (422, "validation_error")
    assert [error["pointer"] for error in response.json["errors"]] == [where]


@pytest.mark.parametrize("cursor", ["xxx", "-1", "", "9" * 30])
def test_malformed_cursor_is_refused(harness: ApiHarness, cursor: str) -> None:
    response = harness.call("GET", f"/audit?cursor={cursor}")
    (error,) = response.json["errors"]
    assert error["message"] == (
        "The cursor is not one that vmapi has issued for this list. "
        "Start again with the first page, and follow next without changes."
    )
    other = harness.call("GET", "/vms?cursor=xxx")
    assert other.json["errors"] == [error]


def test_audit_trail_is_read_only(audited: ApiHarness) -> None:
    for method in ("POST", "PATCH", "DELETE", "PUT"):
        assert audited.call(method, "/audit").status_code == 405
    before = audit_rows(audited.app)
    audited.get_json("/audit")
    assert audit_rows(audited.app) == before
