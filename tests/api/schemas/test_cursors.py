"""Cursor pagination: the pages behind `next`, and refused cursors."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.api_harness import BASE, ApiHarness
from tests.support.fake_clock import Clock
from vmapi.api.schemas.pagination import CURSOR_ALONE_DETAIL
from vmapi.domain.pagination import KeysetPosition
from vmapi.services.cursors import CURSOR_TTL, Cursor, CursorSigner, InvalidCursor

NOT_OURS = (
    "The cursor is not one that vmapi has issued for this list. "
    "Start again with the first page, "
    "and follow next without changes."
)
EXPIRED = (
    "The cursor has expired: a cursor is valid for 24 hours. "
    "Start again with the first page, "
    "and follow next without changes."
)


@pytest.fixture
def seven_vms(harness: ApiHarness) -> ApiHarness:
    """Seven VMs, web-0 to web-6, created one second apart."""
    for number in range(7):
        harness.create(f"web-{number}", metadata={"odd": str(number % 2)})
        harness.clock.sleep(1)
    return harness


def iterate_pages(harness: ApiHarness, path: str) -> Iterator[Any]:
    """Iterate over the pages of a list by `next`."""
    url = BASE + path
    while url:
        response = harness.client.get(url)
        assert response.status_code == 200, response.text
        body: Any = response.json
        url = body["next"]
        assert response.headers.get("Link") == (f'<{url}>; rel="next"' if url else None)
        yield body


def cursor(harness: ApiHarness, path: str) -> str:
    (cursor,) = parse_qs(urlsplit(harness.get_json(path)["next"]).query)["cursor"]
    return cursor


def cursor_error(harness: ApiHarness, path: str) -> str:
    """Return the error message of a refused cursor."""
    response = harness.call("GET", path)
    assert (response.status_code, response.json["code"]) == (422, "validation_error")
    (error,) = response.json["errors"]
    assert error["pointer"] == "/cursor"
    assert response.json["detail"] == f"Parameter cursor: {error['message']}"
    return str(error["message"])


@pytest.mark.parametrize("sort", ["created_at", "-created_at", "name", "-name", "-updated_at"])
@pytest.mark.parametrize("size", [1, 3, 6, 7])
def test_pages_contain_each_item_once_in_order(seven_vms: ApiHarness, sort: str, size: int) -> None:
    pages = list(iterate_pages(seven_vms, f"/vms?sort={sort}&page_size={size}"))
    names = [vm["name"] for body in pages for vm in body["items"]]
    expected = [f"web-{number}" for number in range(7)]
    assert names == (expected[::-1] if sort.startswith("-") else expected)
    assert [body["page"] for body in pages] == [1] + [None] * (len(pages) - 1)
    assert {body["page_size"] for body in pages} == {size}
    assert all(len(body["items"]) == size for body in pages[:-1])


def test_next_contains_only_the_cursor(seven_vms: ApiHarness) -> None:
    path, query = seven_vms.get_json("/vms?page_size=3&sort=name")["next"].split("?")
    assert path == f"{BASE}/vms"
    assert list(parse_qs(query)) == ["cursor"]


def test_cursor_keeps_filters_and_order(seven_vms: ApiHarness) -> None:
    query = "status=STOPPED&status=ERROR&name=web*&created_before=2026-02-25T10:30:05%2B00:00"
    pages = list(iterate_pages(seven_vms, f"/vms?{query}&sort=-name&page_size=2"))
    names = [[vm["name"] for vm in body["items"]] for body in pages]
    assert names == [["web-4", "web-3"], ["web-2", "web-1"], ["web-0"]]


def test_total_is_constant_across_pages(seven_vms: ApiHarness) -> None:
    totals = []
    for number, body in enumerate(iterate_pages(seven_vms, "/vms?page_size=2")):
        totals.append(body["total"])
        seven_vms.create(f"late-{number}")
    assert totals == [7, 7, 7, 7]


def test_concurrent_changes_hide_no_item(seven_vms: ApiHarness) -> None:
    pages = iterate_pages(seven_vms, "/vms?page_size=2")
    names = [vm["name"] for vm in next(pages)["items"]]
    for number in (6, 4):
        seven_vms.call("DELETE", f"/vms/{vm_id(seven_vms, f'web-{number}')}")
        seven_vms.clock.sleep(1)
        seven_vms.create(f"late-{number}")
    names += [vm["name"] for body in pages for vm in body["items"]]
    assert names == ["web-6", "web-5", "web-3", "web-2", "web-1", "web-0"]


def vm_id(harness: ApiHarness, name: str) -> str:
    (vm,) = harness.get_json(f"/vms?name={name}")["items"]
    return str(vm["id"])


def test_cursor_continues_from_any_page(seven_vms: ApiHarness) -> None:
    pages = list(iterate_pages(seven_vms, "/vms?page=2&page_size=3&sort=name"))
    assert [[vm["name"] for vm in body["items"]] for body in pages] == [
        ["web-3", "web-4", "web-5"],
        ["web-6"],
    ]


def test_next_reaches_beyond_page_limit(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmapi.api.schemas.pagination.MAX_PAGED_ITEMS", 2)
    for number in range(3):
        harness.create(f"web-{number}")
        harness.clock.sleep(1)
    assert harness.call("GET", "/vms?page=3&page_size=1").status_code == 422
    pages = list(iterate_pages(harness, "/vms?page=2&page_size=1&sort=name"))
    assert [vm["name"] for body in pages for vm in body["items"]] == ["web-1", "web-2"]


def test_operations_are_paginated_by_cursor(seven_vms: ApiHarness) -> None:
    all_ids = [operation["id"] for operation in seven_vms.get_json("/operations")["items"]]
    pages = iterate_pages(seven_vms, "/operations?page_size=3&action=create")
    first = next(pages)
    seven_vms.clock.sleep(1)
    seven_vms.create("late")
    all_pages = [first, *pages]
    assert [operation["id"] for body in all_pages for operation in body["items"]] == all_ids
    assert [(body["page"], body["total"]) for body in all_pages] == [(1, 7), (None, 7), (None, 7)]


def test_cursor_with_other_parameters_is_refused(seven_vms: ApiHarness) -> None:
    good = cursor(seven_vms, "/vms?page_size=3")
    for query in ("page=2", "page_size=3", "sort=name", "status=RUNNING", "nonsense=1"):
        response = seven_vms.call("GET", f"/vms?cursor={good}&{query}")
        assert (response.status_code, response.json["code"]) == (422, "validation_error")
        assert response.json["errors"] == [
            {"pointer": f"/{query.partition('=')[0]}", "message": CURSOR_ALONE_DETAIL}
        ]
    assert cursor_error(seven_vms, f"/vms?cursor={good}&cursor={good}") == "Must not be repeated."


@pytest.mark.parametrize("name", ["cursor", "%63ursor"])
def test_cursor_expires_after_a_day(seven_vms: ApiHarness, name: str) -> None:
    path = f"/vms?{name}={cursor(seven_vms, '/vms?page_size=3')}"
    assert seven_vms.call("GET", path).status_code == 200
    seven_vms.clock.sleep(CURSOR_TTL.total_seconds() - 1)
    assert seven_vms.call("GET", path).status_code == 200
    seven_vms.clock.sleep(1)
    assert cursor_error(seven_vms, path) == EXPIRED


def test_repeated_cursor_is_decoded_once(
    seven_vms: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/vms?cursor={cursor(seven_vms, '/vms?page_size=3')}"
    first = seven_vms.get_json(path)
    monkeypatch.setattr(CursorSigner, "decode", Mock(side_effect=AssertionError))
    assert seven_vms.get_json(path) == first


@pytest.mark.parametrize("sent", ["", "x", "x.y", ".", "%00", "%ff", "%F0%9F%98%80", "." * 5000])
def test_malformed_cursor_is_refused(harness: ApiHarness, sent: str) -> None:
    for path in ("/vms", "/operations"):
        assert cursor_error(harness, f"{path}?cursor={sent}") == NOT_OURS


def test_cursor_of_another_list_is_refused(seven_vms: ApiHarness) -> None:
    assert (
        cursor_error(seven_vms, f"/vms?cursor={cursor(seven_vms, '/operations?page_size=3')}")
        == NOT_OURS
    )
    assert (
        cursor_error(seven_vms, f"/operations?cursor={cursor(seven_vms, '/vms?page_size=3')}")
        == NOT_OURS
    )


def test_keys_are_read_again_for_a_cursor_with_a_newer_key() -> None:
    clock, cursor = Clock(), Cursor({}, KeysetPosition("web-1", "1", 7))
    signer = CursorSigner(lambda: ["old"], clock, lambda: ["old", "new"])
    newer = CursorSigner(lambda: ["old", "new"], clock)
    assert signer.decode("vms", newer.encode("vms", cursor)) == cursor
    assert newer.decode("vms", signer.encode("vms", cursor)) == cursor


def test_cursor_with_another_signing_key_is_refused(seven_vms: ApiHarness) -> None:
    foreign = CursorSigner(lambda: ["0" * 64], seven_vms.clock)
    created = foreign.encode("vms.list_vms default", Cursor({}, KeysetPosition("web-1", "1", 7)))
    assert cursor_error(seven_vms, f"/vms?cursor={created}") == NOT_OURS


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_edited_cursor_is_refused(seven_vms: ApiHarness, data: st.DataObject) -> None:
    cursors = seven_vms.services.cursors
    created = cursors.encode("a", Cursor({"name": ["x"]}, KeysetPosition("web-1", "1", 7)))
    at = data.draw(st.integers(0, len(created)))
    cut = data.draw(st.integers(0, 2))
    put = data.draw(st.text(st.characters(codec="utf-8"), max_size=2))
    edited = created[:at] + put + created[at + cut :]
    if edited != created:
        with pytest.raises(InvalidCursor, match="The cursor is not one that vmapi has"):
            cursors.decode("a", edited)
    for scope in ("", "b", "a "):
        with pytest.raises(InvalidCursor, match="The cursor is not one that vmapi has"):
            cursors.decode(scope, created)


@given(name=st.text(st.characters(codec="utf-8"), max_size=255), total=st.integers(0, 2**31))
def test_cursor_round_trip(name: str, total: int) -> None:
    clock = Clock()
    cursors = CursorSigner(lambda: ["k"], clock)
    for value in (name, clock()):
        expected = Cursor(
            {"name": [name], "status": ["A", "B"]}, KeysetPosition(value, "id", total)
        )
        text = cursors.encode("s", expected)
        assert cursors.decode("s", text) == expected
        assert len(text) < 6000


def test_processes_share_the_cursor_key(serve_app: Callable[..., Flask], tmp_path: Path) -> None:
    apps = [serve_app(database_url=f"sqlite:///{tmp_path}/shared.sqlite3") for _ in range(2)]
    first, second = (app.extensions["vmapi"].cursors for app in apps)
    expected = Cursor({}, KeysetPosition("web-1", "1", 7))
    assert second.decode("a", first.encode("a", expected)) == expected
