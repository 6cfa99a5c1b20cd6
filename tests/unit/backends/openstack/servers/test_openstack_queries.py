"""Reads of the OpenStack driver: servers, lists and consoles."""

from datetime import UTC, datetime
from urllib.parse import parse_qs

import pytest

from tests.support.fake_openstack import (
    DETAIL_PATH,
    SERVER_ID,
    SERVER_NOT_FOUND,
    SERVER_PATH,
    WRONG_STATE,
    FakeOpenStack,
    Reply,
    action_bodies,
    server_reply,
)
from vmapi import errors
from vmapi.backends.openstack.driver import OpenStackBackend

FORBIDDEN = Reply(403, {"forbidden": {"message": "Policy doesn't allow this to be performed."}})


def page(*ids: str, next_marker: str | None = None) -> Reply:
    servers = [{"id": vm_id, "name": vm_id, "status": "ACTIVE"} for vm_id in ids]
    wrong_url = "http://internal.example:8774/v2.1/servers/detail?marker="
    links = [{"rel": "next", "href": wrong_url + next_marker}] if next_marker else []
    return Reply(200, {"servers": servers, "servers_links": links})


def test_server_of_another_project_is_hidden_from_an_admin_account(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    cloud.reply_to("GET", SERVER_PATH, server_reply("ACTIVE", tenant_id="another"))
    with pytest.raises(errors.VMNotFound, match="shows vmapi no VM of this id"):
        backend.get_vm(SERVER_ID)


def test_forbidden_server_is_not_found(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    cloud.reply_to("GET", SERVER_PATH, FORBIDDEN)
    cloud.reply_to("POST", f"{SERVER_PATH}/action", FORBIDDEN)
    with pytest.raises(errors.VMNotFound):
        backend.get_vm(SERVER_ID)
    with pytest.raises(errors.VMNotFound):
        backend.get_console(SERVER_ID, None)
    cloud.reply_to("GET", SERVER_PATH, server_reply("ACTIVE"))
    with pytest.raises(errors.Forbidden):
        backend.get_console(SERVER_ID, None)


def test_list_reads_all_pages(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    pages = [page("a", "b", next_marker="b"), page("c", next_marker="c"), page("d")]
    cloud.reply_to("GET", DETAIL_PATH, *pages)
    assert [vm.id for vm in backend.list_vms()] == ["a", "b", "c", "d"]
    assert [r.path.partition("?")[2] for r in cloud.requests if DETAIL_PATH in r.path] == [
        "",
        "marker=b",
        "marker=c",
    ]


def test_list_with_repeating_pages_fails(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    cloud.reply_to("GET", DETAIL_PATH, page("a", next_marker="a"))
    with pytest.raises(errors.BackendError, match="repeat"):
        backend.list_vms()


def test_list_restarts_when_its_marker_is_deleted(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    first = page("a", next_marker="a")
    marker_not_found = Reply(400, {"badRequest": {"message": "marker [a] not found"}})
    cloud.reply_to("GET", DETAIL_PATH, first, marker_not_found, page("b"))
    assert [vm.id for vm in backend.list_vms()] == ["b"]
    cloud.reply_to("GET", DETAIL_PATH, *[first, marker_not_found] * 3, first)
    with pytest.raises(errors.BackendError, match="faster"):
        backend.list_vms()


def test_one_bad_page_fails_the_list(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    cloud.reply_to("GET", DETAIL_PATH, page("a", next_marker="a"), Reply(500, "<html>"))
    with pytest.raises(errors.BackendError):
        backend.list_vms()
    cloud.reply_to("GET", DETAIL_PATH, Reply(200, {"servers": [1]}))
    with pytest.raises(errors.BackendError):
        backend.list_vms()


def test_name_filter_is_escaped_and_compared_exactly(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    names = ("a.b", "A.B", "a.b\n")
    servers = [{"id": str(n), "name": name, "status": "ACTIVE"} for n, name in enumerate(names)]
    servers.append({"id": "9", "name": "a.b", "status": "SOFT_DELETED"})
    cloud.reply_to("GET", DETAIL_PATH, Reply(200, {"servers": servers}))
    assert [vm.id for vm in backend.list_vms(name="a.b")] == ["0"]
    assert any(r.path == f"{DETAIL_PATH}?name=%5Ea%5C.b%24" for r in cloud.requests)


def test_changes_since_is_truncated_to_the_second(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    # Nova stores the time of a change without its fraction of a second
    cloud.reply_to("GET", DETAIL_PATH, page("a"))
    backend.list_changed_since(datetime(2026, 2, 25, 10, 30, 7, 900_000, tzinfo=UTC))
    (query,) = [parse_qs(r.path.partition("?")[2]) for r in cloud.requests if DETAIL_PATH in r.path]
    assert query["changes-since"] == ["2026-02-25T10:30:07+00:00"]


def test_console_output_and_errors(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    path = f"{SERVER_PATH}/action"
    cloud.reply_to("POST", path, Reply(200, {"output": "login: "}))
    assert backend.get_console(SERVER_ID, None) == backend.get_console(SERVER_ID, 3) == "login: "
    bodies = [{"os-getConsoleOutput": {}}, {"os-getConsoleOutput": {"length": 3}}]
    assert action_bodies(cloud) == bodies
    cloud.reply_to("POST", path, Reply(200, {"output": None}))
    assert backend.get_console(SERVER_ID, 0) == ""
    no_console = "Guest does not have a console available."
    for reply in (
        WRONG_STATE,
        Reply(404, {"itemNotFound": {"message": no_console}}),
        Reply(501, {"notImplemented": {"message": "Unable to get console log, …"}}),
    ):
        cloud.reply_to("POST", path, reply)
        with pytest.raises(errors.InvalidState):
            backend.get_console(SERVER_ID, None)
    cloud.reply_to("GET", SERVER_PATH, SERVER_NOT_FOUND)
    cloud.reply_to("POST", path, SERVER_NOT_FOUND)
    with pytest.raises(errors.VMNotFound):
        backend.get_console(SERVER_ID, None)
