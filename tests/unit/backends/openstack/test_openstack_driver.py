"""The OpenStack driver: the requests that it sends, and the results of their responses."""

import base64
import gzip
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest

from tests.support.fake_openstack import (
    ACCEPTED,
    DETAIL_PATH,
    NOVA_PATH,
    REQUEST_ID,
    SERVER_ID,
    SERVER_PATH,
    SPEC,
    FakeOpenStack,
    Reply,
    openstack_settings,
    serve_openstack,
)
from vmapi import errors
from vmapi.backends.base import AcceptedAction, ActionOutcome
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.backends.openstack.server_commands import encode_user_data
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import CreateSpec, VMPatch
from vmapi.services.catalog import Catalog
from vmapi.settings.settings import Settings

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")

WRONG_STATE = Reply(409, {"conflictingRequest": {"message": f"Instance {SERVER_ID} is not ready"}})


@pytest.fixture
def cloud() -> Iterator[FakeOpenStack]:
    with serve_openstack() as cloud:
        cloud.reply_to("GET", SERVER_PATH, server("ACTIVE"))
        cloud.reply_to("GET", "/image/v2/images", Reply(200, {"images": []}))
        yield cloud


@pytest.fixture
def backend(cloud: FakeOpenStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenStackBackend]:
    backend = OpenStackBackend.from_settings(openstack_settings(cloud.url, monkeypatch))
    yield backend
    backend.close()


def server(status: str, **members: Any) -> Reply:
    return Reply(200, {"server": {"id": SERVER_ID, "status": status, **members}})


def action_bodies(cloud: FakeOpenStack) -> list[Any]:
    """Return the bodies of the action requests."""
    return [request.body for request in cloud.requests if request.path.endswith("/action")]


# Projects


def test_server_of_another_project_is_hidden_from_an_admin_account(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    cloud.reply_to("GET", SERVER_PATH, server("ACTIVE", tenant_id="another"))
    with pytest.raises(errors.VMNotFound, match="shows vmapi no VM of this id"):
        backend.get_vm(SERVER_ID)


# Actions


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        (Verb.START, {"os-start": None}),
        (Verb.STOP, {"os-stop": None}),
        (Verb.RESTART_SOFT, {"reboot": {"type": "SOFT"}}),
        (Verb.RESTART_HARD, {"reboot": {"type": "HARD"}}),
        (Verb.PAUSE, {"pause": None}),
        (Verb.RESUME, {"unpause": None}),
    ],
)
def test_default_body_is_sent_without_a_read(
    cloud: FakeOpenStack, backend: OpenStackBackend, verb: Verb, body: Any
) -> None:
    cloud.reply_to("POST", f"{SERVER_PATH}/action", ACCEPTED)
    assert backend.perform_action(SERVER_ID, verb) == AcceptedAction(SERVER_ID, REQUEST_ID)
    assert action_bodies(cloud) == [body]
    assert not cloud.count_requests("GET", SERVER_PATH)


@pytest.mark.parametrize(
    ("verb", "status", "body"),
    [
        (Verb.START, "SHELVED", {"unshelve": None}),
        (Verb.START, "SHELVED_OFFLOADED", {"unshelve": None}),
        (Verb.RESUME, "SUSPENDED", {"resume": None}),
    ],
)
def test_body_for_status_is_sent_after_the_default_body_is_refused(
    cloud: FakeOpenStack, backend: OpenStackBackend, verb: Verb, status: str, body: Any
) -> None:
    cloud.reply_to("POST", f"{SERVER_PATH}/action", WRONG_STATE, ACCEPTED)
    cloud.reply_to("GET", SERVER_PATH, server(status))
    assert backend.perform_action(SERVER_ID, verb) == AcceptedAction(SERVER_ID, REQUEST_ID)
    assert action_bodies(cloud)[1:] == [body]


@pytest.mark.parametrize("verb", [Verb.START, Verb.RESUME, Verb.STOP])
def test_refused_action_is_not_repeated(
    cloud: FakeOpenStack, backend: OpenStackBackend, verb: Verb
) -> None:
    cloud.reply_to("POST", f"{SERVER_PATH}/action", WRONG_STATE)
    with pytest.raises(errors.InvalidState, match="is not ready"):
        backend.perform_action(SERVER_ID, verb)
    assert len(action_bodies(cloud)) == 1


def test_action_on_a_server_without_host_is_invalid_state(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    cloud.reply_to("GET", SERVER_PATH, server("BUILD"))
    with pytest.raises(errors.InvalidState):
        backend.perform_action(SERVER_ID, Verb.STOP)
    cloud.reply_to("GET", SERVER_PATH, Reply(404, {"itemNotFound": {"message": "Instance x"}}))
    with pytest.raises(errors.VMNotFound):
        backend.perform_action(SERVER_ID, Verb.STOP)


def test_action_on_a_just_deleted_server_is_not_found(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    message = f"Cannot 'stop' instance {SERVER_ID} while it is in vm_state deleted"
    cloud.reply_to(
        "POST", f"{SERVER_PATH}/action", Reply(409, {"conflictingRequest": {"message": message}})
    )
    cloud.reply_to("GET", SERVER_PATH, server("DELETED"))
    with pytest.raises(errors.VMNotFound):
        backend.perform_action(SERVER_ID, Verb.STOP)


def test_delete_returns_the_request_id(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    cloud.reply_to("DELETE", SERVER_PATH, Reply(204, None, {"X-Compute-Request-Id": REQUEST_ID}))
    assert backend.perform_action(SERVER_ID, Verb.DELETE) == AcceptedAction(SERVER_ID, REQUEST_ID)


# Creation


def test_create_sends_the_spec_and_the_operation_tag(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    created = {"server": {"id": SERVER_ID, "adminPass": "x"}}
    cloud.reply_to("POST", f"{NOVA_PATH}/servers", replace(ACCEPTED, body=created))
    assert backend.create_vm(SPEC, "op-1") == AcceptedAction(SERVER_ID, REQUEST_ID)
    full = CreateSpec("web-2", "1", "img", "net", {}, b"#!/bin/sh", "key-1", ("web",))
    backend.create_vm(full, "op-2")
    bodies = [r.body for r in cloud.requests if r.path == f"{NOVA_PATH}/servers"]
    first, second = (body["server"] for body in bodies)
    assert first == {
        "name": "web-1",
        "flavorRef": "1",
        "imageRef": "img",
        "networks": "auto",
        "metadata": {"a": "b"},
        "tags": ["vmapi.operation.op-1"],
    }
    assert second["networks"] == [{"uuid": "net"}]
    assert second["security_groups"] == [{"name": "web"}]
    assert second["key_name"] == "key-1"
    assert base64.b64decode(second["user_data"]) == b"#!/bin/sh"


def test_metadata_of_a_server_hold_its_project(
    cloud: FakeOpenStack, backend: OpenStackBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.reply_to(
        "POST", f"{NOVA_PATH}/servers", replace(ACCEPTED, body={"server": {"id": SERVER_ID}})
    )
    backend.create_vm(replace(SPEC, project="web"), "op-1")
    (created,) = (r.body["server"] for r in cloud.requests if r.path == f"{NOVA_PATH}/servers")
    assert created["metadata"] == {"a": "b", "vmapi.project": "web"}
    cloud.reply_to("GET", SERVER_PATH, server("ACTIVE", metadata=created["metadata"]))
    cloud.reply_to("PUT", f"{SERVER_PATH}/metadata", Reply(200, {"metadata": {}}))
    backend.update_vm(SERVER_ID, VMPatch(metadata={"a": None, "c": "d"}))
    (updated,) = (r.body for r in cloud.requests if r.path == f"{SERVER_PATH}/metadata")
    assert updated == {"metadata": {"c": "d", "vmapi.project": "web"}}
    assert (backend.get_vm(SERVER_ID).project, backend.get_vm(SERVER_ID).metadata) == (
        "web",
        {"a": "b"},
    )
    cloud.reply_to("GET", SERVER_PATH, server("ACTIVE", metadata={"a": "b"}))
    other_settings = replace(openstack_settings(cloud.url, monkeypatch), default_project="other")
    another = OpenStackBackend.from_settings(other_settings)
    assert (backend.get_vm(SERVER_ID).project, another.get_vm(SERVER_ID).project) == (
        "default",
        "other",
    )
    another.close()


def test_long_user_data_is_compressed() -> None:
    assert encode_user_data(b"x" * 49_149) == base64.b64encode(b"x" * 49_149).decode()
    compressed = encode_user_data(b"x" * 65_536)
    assert gzip.decompress(base64.b64decode(compressed)) == b"x" * 65_536
    with pytest.raises(errors.ValidationFailed) as caught:
        encode_user_data(os.urandom(50_000))
    assert caught.value.extra["errors"][0]["pointer"] == "/user_data"  # type: ignore[index]


def test_unknown_flavor_invalidates_the_catalog(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    flavor = {"id": "1", "name": "m1.tiny", "vcpus": 1, "ram": 512, "disk": 1}
    cloud.reply_to("GET", f"{NOVA_PATH}/flavors/detail", Reply(200, {"flavors": [flavor]}))
    for _ in range(2):
        assert backend.list_flavors()[0].name == "m1.tiny"
    assert cloud.count_requests("GET", f"{NOVA_PATH}/flavors/detail") == 1
    unknown = Reply(400, {"badRequest": {"message": "Flavor 1 could not be found."}})
    cloud.reply_to("POST", f"{NOVA_PATH}/servers", unknown)
    with pytest.raises(errors.FlavorNotFound):
        backend.create_vm(SPEC, "op")
    backend.list_flavors()
    assert cloud.count_requests("GET", f"{NOVA_PATH}/flavors/detail") == 2
    backend.list_flavors(refresh=True)
    assert cloud.count_requests("GET", f"{NOVA_PATH}/flavors/detail") == 3


# Lists


def page(*ids: str, next_marker: str | None = None) -> Reply:
    servers = [{"id": vm_id, "name": vm_id, "status": "ACTIVE"} for vm_id in ids]
    wrong_url = "http://internal.example:8774/v2.1/servers/detail?marker="
    links = [{"rel": "next", "href": wrong_url + next_marker}] if next_marker else []
    return Reply(200, {"servers": servers, "servers_links": links})


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


def test_image_list_reads_all_pages(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    def image(number: int, **members: Any) -> dict[str, Any]:
        return {"id": str(number), "name": None, "status": "active", **members}

    cloud.reply_to(
        "GET",
        "/image/v2/images",
        Reply(200, {"images": [image(1)], "next": "/v2/images?marker=1"}),
        Reply(200, {"images": [image(2, name="two", min_disk=3, min_ram=4)]}),
    )
    unnamed, two = backend.list_images()
    assert (unnamed.name, unnamed.min_disk_gb) == ("1", 0)
    assert (two.name, two.min_disk_gb, two.min_ram_mb) == ("two", 3, 4)


def network(name: str, *, external: bool = False, shared: bool = False) -> dict[str, Any]:
    return {"id": f"id-{name}", "name": name, "router:external": external, "shared": shared}


@pytest.mark.parametrize(
    ("networks", "default_network", "expected"),
    [
        ([network("a")], None, "a"),
        ([network("a"), network("ext", external=True)], None, "a"),
        ([network("a"), network("b")], None, None),
        ([network("ext", external=True)], None, None),
        ([network("a"), network("ext", external=True, shared=True)], None, None),
        ([network("a"), network("b")], "b", "b"),
        ([network("a"), network("b")], "id-a", "a"),
        ([network("a")], "c", "a"),
        ([network("a"), network("b")], "c", None),
    ],
)
def test_default_network(
    cloud: FakeOpenStack,
    monkeypatch: pytest.MonkeyPatch,
    networks: list[dict[str, Any]],
    default_network: str | None,
    expected: str | None,
) -> None:
    cloud.reply_to("GET", "/network/v2.0/networks", Reply(200, {"networks": networks}))
    backend = OpenStackBackend.from_settings(
        replace(openstack_settings(cloud.url, monkeypatch), default_network=default_network)
    )
    assert len(backend.list_networks()) == len(networks)
    if expected is not None:
        chosen = Catalog(backend).find_network(None, "p")
        assert chosen is not None
        assert chosen.name == expected
        return
    with pytest.raises(errors.NetworkAmbiguous):
        Catalog(backend).find_network(None, "p")


# Outcomes


FINISHED_AT = "2026-11-22T15:55:49.000000"


def event(
    result: str | None, finish: str | None = FINISHED_AT, name: str = "stop"
) -> dict[str, Any]:
    return {"event": f"compute_{name}_instance", "result": result, "finish_time": finish}


@pytest.mark.parametrize(
    ("events", "outcome"),
    [
        ([], ActionOutcome.PENDING),
        ([event(None, None)], ActionOutcome.PENDING),
        ([event("Success")], ActionOutcome.SUCCEEDED),
        ([event("Success"), event(None, None, "spawn")], ActionOutcome.PENDING),
        # after a restart of nova-compute, Nova finishes one of two events of a name
        ([event(None, None), event("Success")], ActionOutcome.SUCCEEDED),
        ([event("Success", None)], ActionOutcome.PENDING),
        ([event("Success"), event("Error")], ActionOutcome.FAILED),
        ([event("Error"), event(None, None)], ActionOutcome.FAILED),
    ],
)
def test_outcome_follows_from_the_events(
    cloud: FakeOpenStack, backend: OpenStackBackend, events: list[Any], outcome: ActionOutcome
) -> None:
    path = f"{SERVER_PATH}/os-instance-actions/{REQUEST_ID}"
    cloud.reply_to("GET", path, Reply(200, {"instanceAction": {"events": events}}))
    assert backend.get_outcome(AcceptedAction(SERVER_ID, REQUEST_ID)) is outcome


def test_outcome_without_record_is_pending(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    assert backend.get_outcome(AcceptedAction(SERVER_ID, REQUEST_ID)) is ActionOutcome.PENDING
    cloud.reply_to("GET", SERVER_PATH, server("SOFT_DELETED"))
    with pytest.raises(errors.VMNotFound):
        backend.get_outcome(AcceptedAction(SERVER_ID, REQUEST_ID))


FORBIDDEN = Reply(403, {"forbidden": {"message": "Policy doesn't allow this to be performed."}})


def test_forbidden_server_is_not_found(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    cloud.reply_to("GET", SERVER_PATH, FORBIDDEN)
    cloud.reply_to("POST", f"{SERVER_PATH}/action", FORBIDDEN)
    with pytest.raises(errors.VMNotFound):
        backend.get_vm(SERVER_ID)
    with pytest.raises(errors.VMNotFound):
        backend.get_console(SERVER_ID, None)
    cloud.reply_to("GET", SERVER_PATH, server("ACTIVE"))
    with pytest.raises(errors.Forbidden):
        backend.get_console(SERVER_ID, None)


@pytest.mark.parametrize("reply", [Reply(202), Reply(200, "<html>Please log in</html>")])
def test_unreadable_response_to_a_change_is_a_backend_error(
    cloud: FakeOpenStack, backend: OpenStackBackend, reply: Reply
) -> None:
    calls = {
        ("POST", f"{SERVER_PATH}/action"): lambda: backend.perform_action(SERVER_ID, Verb.STOP),
        ("DELETE", SERVER_PATH): lambda: backend.perform_action(SERVER_ID, Verb.DELETE),
        ("PUT", SERVER_PATH): lambda: backend.update_vm(SERVER_ID, VMPatch(name="web-2")),
        ("PUT", f"{SERVER_PATH}/metadata"): lambda: backend.update_vm(
            SERVER_ID, VMPatch(metadata={"a": "b"})
        ),
    }
    for (method, path), call in calls.items():
        cloud.reply_to(method, path, reply)
        with pytest.raises(errors.BackendError):
            call()
        assert cloud.count_requests(method, path) == 1


def test_action_is_found_by_verb_time_and_request_id(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    records = [
        {"action": "stop", "request_id": "req-2", "start_time": "2026-11-22T15:00:30.000000"},
        {"action": "pause", "request_id": "req-3", "start_time": "2026-11-22T15:00:40.000000"},
        {"action": "stop", "request_id": "req-1", "start_time": "2026-11-22T15:00:10.000000"},
    ]
    cloud.reply_to(
        "GET", f"{SERVER_PATH}/os-instance-actions", Reply(200, {"instanceActions": records})
    )

    def find(verb: Verb, second: int, *exclude: str) -> AcceptedAction | None:
        since = datetime(2026, 11, 22, 15, 0, second, tzinfo=UTC)
        return backend.find_action(SERVER_ID, verb, since, exclude)

    assert find(Verb.STOP, 0) == AcceptedAction(SERVER_ID, "req-2")
    assert find(Verb.STOP, 32) == AcceptedAction(SERVER_ID, "req-2")
    assert find(Verb.STOP, 33) is None
    assert find(Verb.STOP, 0, "req-2", "req-3") == AcceptedAction(SERVER_ID, "req-1")
    assert find(Verb.STOP, 30, "req-2") is None
    assert find(Verb.START, 0) is None


def test_created_vm_is_found_by_its_tag(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    cloud.reply_to("GET", DETAIL_PATH, Reply(200, {"servers": []}))
    assert backend.find_created_vm("op") is None
    assert any(r.path == f"{DETAIL_PATH}?tags=vmapi.operation.op" for r in cloud.requests)
    newer = {"id": "11111111-2222-4333-8444-000000000000", "created": "2026-11-22T15:55:51Z"}
    servers = [newer, {"id": SERVER_ID, "created": "2026-11-22T15:55:50Z", "status": "BUILD"}]
    cloud.reply_to("GET", DETAIL_PATH, Reply(200, {"servers": servers}))
    actions = f"{SERVER_PATH}/os-instance-actions"
    cloud.reply_to("GET", actions, Reply(200, {"instanceActions": []}))
    assert backend.find_created_vm("op") == AcceptedAction(SERVER_ID, "")
    record = {"action": "create", "request_id": REQUEST_ID, "start_time": None}
    cloud.reply_to("GET", actions, Reply(200, {"instanceActions": [record]}))
    assert backend.find_created_vm("op") == AcceptedAction(SERVER_ID, REQUEST_ID)


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
    cloud.reply_to("GET", SERVER_PATH, Reply(404, {"itemNotFound": {"message": "Instance x"}}))
    cloud.reply_to("POST", path, Reply(404, {"itemNotFound": {"message": "Instance x"}}))
    with pytest.raises(errors.VMNotFound):
        backend.get_console(SERVER_ID, None)


def test_update_replaces_metadata_and_keeps_reserved_ones(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    cloud.reply_to(
        "GET", SERVER_PATH, server("ACTIVE", metadata={"a": "1", "b": "2", "vmapi.own": "3"})
    )
    cloud.reply_to("PUT", SERVER_PATH, server("ACTIVE"))
    cloud.reply_to("PUT", f"{SERVER_PATH}/metadata", Reply(200, {"metadata": {}}))
    backend.update_vm(SERVER_ID, VMPatch("web-2", {"a": None, "c": "4"}))
    backend.update_vm(SERVER_ID, VMPatch(None, {"a": "1"}))
    assert [(r.path, r.body) for r in cloud.requests if r.method == "PUT"] == [
        (f"{SERVER_PATH}/metadata", {"metadata": {"b": "2", "c": "4", "vmapi.own": "3"}}),
        (SERVER_PATH, {"server": {"name": "web-2"}}),
    ]


def test_half_completed_update_has_an_unknown_outcome(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    cloud.reply_to("GET", SERVER_PATH, server("ACTIVE", metadata={}))
    cloud.reply_to("PUT", SERVER_PATH, Reply(503, "busy"))
    cloud.reply_to("PUT", f"{SERVER_PATH}/metadata", Reply(200, {"metadata": {}}))
    with pytest.raises(errors.BackendTimeout, match="The metadata were changed, not yet the name"):
        backend.update_vm(SERVER_ID, VMPatch("web-2", {"a": "1"}))
    with pytest.raises(errors.BackendUnavailable):
        backend.update_vm(SERVER_ID, VMPatch("web-2"))


# Credentials


def test_credentials_come_from_clouds_yaml_then_environment_then_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    complete = openstack_settings("http://settings.example", monkeypatch)

    def auth_url(settings: Settings) -> str:
        return OpenStackBackend.from_settings(settings).describe()["auth_url"]

    assert auth_url(complete) == "http://settings.example/identity/v3"
    monkeypatch.setenv("OS_AUTH_URL", "http://u:pw@environment.example/v3")
    for name in ("USERNAME", "PASSWORD", "PROJECT_NAME"):
        monkeypatch.setenv(f"OS_{name}", "x")
    assert auth_url(complete) == "http://environment.example/v3"
    clouds = tmp_path / "clouds.yaml"
    auth = "{auth_url: 'http://clouds.example/v3', username: u, password: p, project_name: q}"
    clouds.write_text(f"clouds: {{cloud-1: {{auth: {auth}, region_name: R1}}}}")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
    described = OpenStackBackend.from_settings(replace(complete, os_cloud="cloud-1")).describe()
    assert described == {
        "backend": "openstack",
        "cloud": "cloud-1",
        "auth_url": "http://clouds.example/v3",
        "project": "q",
        "region": "R1",
        "sees": "its own project only",
        "microversion": "not asked yet",
    }
    with pytest.raises(errors.SettingsError, match="absent"):
        OpenStackBackend.from_settings(replace(complete, os_cloud="absent"))


def test_incomplete_credentials_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.SettingsError, match="OPENSTACK_PASSWORD"):
        OpenStackBackend.from_settings(openstack_settings("http://x", monkeypatch, password=None))
    with pytest.raises(errors.SettingsError, match="OS_CLOUD"):
        OpenStackBackend.from_settings(Settings())


def test_sdk_is_imported_by_this_driver_only() -> None:
    imports = "import sys, vmapi.backends.base, vmapi.settings.settings"
    code = f"{imports}; sys.exit('openstack' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
