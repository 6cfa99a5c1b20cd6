"""Which calls the driver makes, and what it makes of the answers."""

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


def server(status: str, **more: Any) -> Reply:
    return Reply(200, {"server": {"id": SERVER_ID, "status": status, **more}})


def sent(cloud: FakeOpenStack) -> list[Any]:
    return [seen.body for seen in cloud.requests if seen.path.endswith("/action")]


# Whose it is


def test_an_admin_is_shown_no_server_of_another_project(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    cloud.reply_to("GET", SERVER_PATH, server("ACTIVE", tenant_id="another"))
    with pytest.raises(errors.VMNotFound, match="shows vmapi no VM of this id"):
        backend.get_vm(SERVER_ID)


# Verbs


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
def test_the_likely_call_is_sent_without_looking(
    cloud: FakeOpenStack, backend: OpenStackBackend, verb: Verb, body: Any
) -> None:
    cloud.reply_to("POST", f"{SERVER_PATH}/action", ACCEPTED)
    assert backend.perform_action(SERVER_ID, verb) == AcceptedAction(SERVER_ID, REQUEST_ID)
    assert sent(cloud) == [body]
    assert not cloud.count_requests("GET", SERVER_PATH)


@pytest.mark.parametrize(
    ("verb", "status", "body"),
    [
        (Verb.START, "SHELVED", {"unshelve": None}),
        (Verb.START, "SHELVED_OFFLOADED", {"unshelve": None}),
        (Verb.RESUME, "SUSPENDED", {"resume": None}),
    ],
)
def test_the_state_decides_when_the_likely_call_is_refused(
    cloud: FakeOpenStack, backend: OpenStackBackend, verb: Verb, status: str, body: Any
) -> None:
    cloud.reply_to("POST", f"{SERVER_PATH}/action", WRONG_STATE, ACCEPTED)
    cloud.reply_to("GET", SERVER_PATH, server(status))
    assert backend.perform_action(SERVER_ID, verb) == AcceptedAction(SERVER_ID, REQUEST_ID)
    assert sent(cloud)[1:] == [body]


@pytest.mark.parametrize("verb", [Verb.START, Verb.RESUME, Verb.STOP])
def test_a_refused_verb_is_not_sent_again(
    cloud: FakeOpenStack, backend: OpenStackBackend, verb: Verb
) -> None:
    cloud.reply_to("POST", f"{SERVER_PATH}/action", WRONG_STATE)
    with pytest.raises(errors.InvalidState, match="is not ready"):
        backend.perform_action(SERVER_ID, verb)
    assert len(sent(cloud)) == 1


def test_a_server_that_has_no_host_yet_is_not_lost(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    cloud.reply_to("GET", SERVER_PATH, server("BUILD"))
    with pytest.raises(errors.InvalidState):
        backend.perform_action(SERVER_ID, Verb.STOP)
    cloud.reply_to("GET", SERVER_PATH, Reply(404, {"itemNotFound": {"message": "Instance x"}}))
    with pytest.raises(errors.VMNotFound):
        backend.perform_action(SERVER_ID, Verb.STOP)


def test_a_server_that_nova_has_just_deleted_is_gone(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    said = f"Cannot 'stop' instance {SERVER_ID} while it is in vm_state deleted"
    cloud.reply_to(
        "POST", f"{SERVER_PATH}/action", Reply(409, {"conflictingRequest": {"message": said}})
    )
    cloud.reply_to("GET", SERVER_PATH, server("DELETED"))
    with pytest.raises(errors.VMNotFound):
        backend.perform_action(SERVER_ID, Verb.STOP)


def test_a_delete(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    cloud.reply_to("DELETE", SERVER_PATH, Reply(204, None, {"X-Compute-Request-Id": REQUEST_ID}))
    assert backend.perform_action(SERVER_ID, Verb.DELETE) == AcceptedAction(SERVER_ID, REQUEST_ID)


# Creation


def test_a_create(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    made = {"server": {"id": SERVER_ID, "adminPass": "x"}}
    cloud.reply_to("POST", f"{NOVA_PATH}/servers", replace(ACCEPTED, body=made))
    assert backend.create_vm(SPEC, "op-1") == AcceptedAction(SERVER_ID, REQUEST_ID)
    full = CreateSpec("web-2", "1", "img", "net", {}, b"#!/bin/sh", "mine", ("web",))
    backend.create_vm(full, "op-2")
    asked = [each.body for each in cloud.requests if each.path == f"{NOVA_PATH}/servers"]
    first, second = (body["server"] for body in asked)
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
    assert second["key_name"] == "mine"
    assert base64.b64decode(second["user_data"]) == b"#!/bin/sh"


def test_a_server_carries_its_project(
    cloud: FakeOpenStack, backend: OpenStackBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.reply_to(
        "POST", f"{NOVA_PATH}/servers", replace(ACCEPTED, body={"server": {"id": SERVER_ID}})
    )
    backend.create_vm(replace(SPEC, project="web"), "op-1")
    (asked,) = (
        each.body["server"] for each in cloud.requests if each.path == f"{NOVA_PATH}/servers"
    )
    assert asked["metadata"] == {"a": "b", "vmapi.project": "web"}
    cloud.reply_to("GET", SERVER_PATH, server("ACTIVE", metadata=asked["metadata"]))
    cloud.reply_to("PUT", f"{SERVER_PATH}/metadata", Reply(200, {"metadata": {}}))
    backend.update_vm(SERVER_ID, VMPatch(metadata={"a": None, "c": "d"}))
    (kept,) = (each.body for each in cloud.requests if each.path == f"{SERVER_PATH}/metadata")
    assert kept == {"metadata": {"c": "d", "vmapi.project": "web"}}
    assert (backend.get_vm(SERVER_ID).project, backend.get_vm(SERVER_ID).metadata) == (
        "web",
        {"a": "b"},
    )
    cloud.reply_to("GET", SERVER_PATH, server("ACTIVE", metadata={"a": "b"}))
    ours = replace(openstack_settings(cloud.url, monkeypatch), default_project="ours")
    another = OpenStackBackend.from_settings(ours)
    assert (backend.get_vm(SERVER_ID).project, another.get_vm(SERVER_ID).project) == (
        "default",
        "ours",
    )
    another.close()


def test_user_data_is_packed_when_it_is_long() -> None:
    assert encode_user_data(b"x" * 49_149) == base64.b64encode(b"x" * 49_149).decode()
    packed = encode_user_data(b"x" * 65_536)
    assert gzip.decompress(base64.b64decode(packed)) == b"x" * 65_536
    with pytest.raises(errors.ValidationFailed) as caught:
        encode_user_data(os.urandom(50_000))
    assert caught.value.extra["errors"][0]["pointer"] == "/user_data"  # type: ignore[index]


def test_an_unknown_flavor_makes_the_catalog_forget(
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


def page(*ids: str, then: str | None = None) -> Reply:
    servers = [{"id": each, "name": each, "status": "ACTIVE"} for each in ids]
    wrong = "http://internal.example:8774/v2.1/servers/detail?marker="
    links = [{"rel": "next", "href": wrong + then}] if then else []
    return Reply(200, {"servers": servers, "servers_links": links})


def test_all_pages(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    pages = [page("a", "b", then="b"), page("c", then="c"), page("d")]
    cloud.reply_to("GET", DETAIL_PATH, *pages)
    assert [vm.id for vm in backend.list_vms()] == ["a", "b", "c", "d"]
    assert [seen.path.partition("?")[2] for seen in cloud.requests if DETAIL_PATH in seen.path] == [
        "",
        "marker=b",
        "marker=c",
    ]


def test_pages_that_repeat(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    cloud.reply_to("GET", DETAIL_PATH, page("a", then="a"))
    with pytest.raises(errors.BackendError, match="repeat"):
        backend.list_vms()


def test_a_marker_that_was_deleted(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    first = page("a", then="a")
    gone = Reply(400, {"badRequest": {"message": "marker [a] not found"}})
    cloud.reply_to("GET", DETAIL_PATH, first, gone, page("b"))
    assert [vm.id for vm in backend.list_vms()] == ["b"]
    cloud.reply_to("GET", DETAIL_PATH, *[first, gone] * 3, first)
    with pytest.raises(errors.BackendError, match="faster"):
        backend.list_vms()


def test_one_bad_page_fails_the_list(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    cloud.reply_to("GET", DETAIL_PATH, page("a", then="a"), Reply(500, "<html>"))
    with pytest.raises(errors.BackendError):
        backend.list_vms()
    cloud.reply_to("GET", DETAIL_PATH, Reply(200, {"servers": [1]}))
    with pytest.raises(errors.BackendError):
        backend.list_vms()


def test_a_name_is_escaped_and_compared(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    names = ("a.b", "A.B", "a.b\n")
    servers = [{"id": str(n), "name": name, "status": "ACTIVE"} for n, name in enumerate(names)]
    servers.append({"id": "9", "name": "a.b", "status": "SOFT_DELETED"})
    cloud.reply_to("GET", DETAIL_PATH, Reply(200, {"servers": servers}))
    assert [vm.id for vm in backend.list_vms(name="a.b")] == ["0"]
    assert any(seen.path == f"{DETAIL_PATH}?name=%5Ea%5C.b%24" for seen in cloud.requests)


def test_changes_are_asked_for_from_the_beginning_of_a_second(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    # what changed at .9 of it Nova has as changed at .0
    cloud.reply_to("GET", DETAIL_PATH, page("a"))
    backend.list_changed_since(datetime(2026, 2, 25, 10, 30, 7, 900_000, tzinfo=UTC))
    (asked,) = [
        parse_qs(seen.path.partition("?")[2]) for seen in cloud.requests if DETAIL_PATH in seen.path
    ]
    assert asked["changes-since"] == ["2026-02-25T10:30:07+00:00"]


def test_images_of_all_pages(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    def image(number: int, **more: Any) -> dict[str, Any]:
        return {"id": str(number), "name": None, "status": "active", **more}

    cloud.reply_to(
        "GET",
        "/image/v2/images",
        Reply(200, {"images": [image(1)], "next": "/v2/images?marker=1"}),
        Reply(200, {"images": [image(2, name="two", min_disk=3, min_ram=4)]}),
    )
    one, two = backend.list_images()
    assert (one.name, one.min_disk_gb) == ("1", 0)
    assert (two.name, two.min_disk_gb, two.min_ram_mb) == ("two", 3, 4)


def network(name: str, *, external: bool = False, shared: bool = False) -> dict[str, Any]:
    return {"id": f"id-{name}", "name": name, "router:external": external, "shared": shared}


@pytest.mark.parametrize(
    ("networks", "wanted", "default"),
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
def test_the_default_network(
    cloud: FakeOpenStack,
    monkeypatch: pytest.MonkeyPatch,
    networks: list[dict[str, Any]],
    wanted: str | None,
    default: str | None,
) -> None:
    cloud.reply_to("GET", "/network/v2.0/networks", Reply(200, {"networks": networks}))
    backend = OpenStackBackend.from_settings(
        replace(openstack_settings(cloud.url, monkeypatch), default_network=wanted)
    )
    assert len(backend.list_networks()) == len(networks)
    if default is not None:
        chosen = Catalog(backend).find_network(None, "p")
        assert chosen is not None
        assert chosen.name == default
        return
    with pytest.raises(errors.NetworkAmbiguous):
        Catalog(backend).find_network(None, "p")


# Questions


ENDED = "2026-11-22T15:55:49.000000"


def event(result: str | None, finish: str | None = ENDED, name: str = "stop") -> dict[str, Any]:
    return {"event": f"compute_{name}_instance", "result": result, "finish_time": finish}


@pytest.mark.parametrize(
    ("events", "outcome"),
    [
        ([], ActionOutcome.PENDING),
        ([event(None, None)], ActionOutcome.PENDING),
        ([event("Success")], ActionOutcome.SUCCEEDED),
        ([event("Success"), event(None, None, "spawn")], ActionOutcome.PENDING),
        # seen when a nova-compute was killed and came back: of one name, one is ended
        ([event(None, None), event("Success")], ActionOutcome.SUCCEEDED),
        ([event("Success", None)], ActionOutcome.PENDING),
        ([event("Success"), event("Error")], ActionOutcome.FAILED),
        ([event("Error"), event(None, None)], ActionOutcome.FAILED),
    ],
)
def test_outcomes(
    cloud: FakeOpenStack, backend: OpenStackBackend, events: list[Any], outcome: ActionOutcome
) -> None:
    path = f"{SERVER_PATH}/os-instance-actions/{REQUEST_ID}"
    cloud.reply_to("GET", path, Reply(200, {"instanceAction": {"events": events}}))
    assert backend.get_outcome(AcceptedAction(SERVER_ID, REQUEST_ID)) is outcome


def test_an_outcome_that_is_not_recorded_yet(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    assert backend.get_outcome(AcceptedAction(SERVER_ID, REQUEST_ID)) is ActionOutcome.PENDING
    cloud.reply_to("GET", SERVER_PATH, server("SOFT_DELETED"))
    with pytest.raises(errors.VMNotFound):
        backend.get_outcome(AcceptedAction(SERVER_ID, REQUEST_ID))


FORBIDDEN = Reply(403, {"forbidden": {"message": "Policy doesn't allow this to be performed."}})


def test_a_server_of_another_project_is_none(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    cloud.reply_to("GET", SERVER_PATH, FORBIDDEN)
    cloud.reply_to("POST", f"{SERVER_PATH}/action", FORBIDDEN)
    with pytest.raises(errors.VMNotFound):
        backend.get_vm(SERVER_ID)
    with pytest.raises(errors.VMNotFound):
        backend.get_console(SERVER_ID, None)
    cloud.reply_to("GET", SERVER_PATH, server("ACTIVE"))
    with pytest.raises(errors.Forbidden):
        backend.get_console(SERVER_ID, None)


@pytest.mark.parametrize("answer", [Reply(202), Reply(200, "<html>Please log in</html>")])
def test_what_is_no_answer_of_nova_is_told(
    cloud: FakeOpenStack, backend: OpenStackBackend, answer: Reply
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
        cloud.reply_to(method, path, answer)
        with pytest.raises(errors.BackendError):
            call()
        assert cloud.count_requests(method, path) == 1


def test_what_was_performed_is_found(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    records = [
        {"action": "stop", "request_id": "req-2", "start_time": "2026-11-22T15:00:30.000000"},
        {"action": "pause", "request_id": "req-3", "start_time": "2026-11-22T15:00:40.000000"},
        {"action": "stop", "request_id": "req-1", "start_time": "2026-11-22T15:00:10.000000"},
    ]
    cloud.reply_to(
        "GET", f"{SERVER_PATH}/os-instance-actions", Reply(200, {"instanceActions": records})
    )

    def found(verb: Verb, second: int, *known: str) -> AcceptedAction | None:
        since = datetime(2026, 11, 22, 15, 0, second, tzinfo=UTC)
        return backend.find_action(SERVER_ID, verb, since, known)

    assert found(Verb.STOP, 0) == AcceptedAction(SERVER_ID, "req-2")
    assert found(Verb.STOP, 32) == AcceptedAction(SERVER_ID, "req-2")
    assert found(Verb.STOP, 33) is None
    assert found(Verb.STOP, 0, "req-2", "req-3") == AcceptedAction(SERVER_ID, "req-1")
    assert found(Verb.STOP, 30, "req-2") is None
    assert found(Verb.START, 0) is None


def test_what_was_created_is_found_by_its_tag(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    cloud.reply_to("GET", DETAIL_PATH, Reply(200, {"servers": []}))
    assert backend.find_created_vm("op") is None
    assert any(seen.path == f"{DETAIL_PATH}?tags=vmapi.operation.op" for seen in cloud.requests)
    late = {"id": "11111111-2222-4333-8444-000000000000", "created": "2026-11-22T15:55:51Z"}
    servers = [late, {"id": SERVER_ID, "created": "2026-11-22T15:55:50Z", "status": "BUILD"}]
    cloud.reply_to("GET", DETAIL_PATH, Reply(200, {"servers": servers}))
    actions = f"{SERVER_PATH}/os-instance-actions"
    cloud.reply_to("GET", actions, Reply(200, {"instanceActions": []}))
    assert backend.find_created_vm("op") == AcceptedAction(SERVER_ID, "")
    record = {"action": "create", "request_id": REQUEST_ID, "start_time": None}
    cloud.reply_to("GET", actions, Reply(200, {"instanceActions": [record]}))
    assert backend.find_created_vm("op") == AcceptedAction(SERVER_ID, REQUEST_ID)


def test_the_console(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    path = f"{SERVER_PATH}/action"
    cloud.reply_to("POST", path, Reply(200, {"output": "login: "}))
    assert backend.get_console(SERVER_ID, None) == backend.get_console(SERVER_ID, 3) == "login: "
    asked = [{"os-getConsoleOutput": {}}, {"os-getConsoleOutput": {"length": 3}}]
    assert sent(cloud) == asked
    cloud.reply_to("POST", path, Reply(200, {"output": None}))
    assert backend.get_console(SERVER_ID, 0) == ""
    none = "Guest does not have a console available."
    for answer in (
        WRONG_STATE,
        Reply(404, {"itemNotFound": {"message": none}}),
        Reply(501, {"notImplemented": {"message": "Unable to get console log, …"}}),
    ):
        cloud.reply_to("POST", path, answer)
        with pytest.raises(errors.InvalidState):
            backend.get_console(SERVER_ID, None)
    cloud.reply_to("GET", SERVER_PATH, Reply(404, {"itemNotFound": {"message": "Instance x"}}))
    cloud.reply_to("POST", path, Reply(404, {"itemNotFound": {"message": "Instance x"}}))
    with pytest.raises(errors.VMNotFound):
        backend.get_console(SERVER_ID, None)


def test_an_update_replaces_metadata_and_keeps_our_own(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    cloud.reply_to(
        "GET", SERVER_PATH, server("ACTIVE", metadata={"a": "1", "b": "2", "vmapi.own": "3"})
    )
    cloud.reply_to("PUT", SERVER_PATH, server("ACTIVE"))
    cloud.reply_to("PUT", f"{SERVER_PATH}/metadata", Reply(200, {"metadata": {}}))
    backend.update_vm(SERVER_ID, VMPatch("web-2", {"a": None, "c": "4"}))
    backend.update_vm(SERVER_ID, VMPatch(None, {"a": "1"}))
    assert [(seen.path, seen.body) for seen in cloud.requests if seen.method == "PUT"] == [
        (f"{SERVER_PATH}/metadata", {"metadata": {"b": "2", "c": "4", "vmapi.own": "3"}}),
        (SERVER_PATH, {"server": {"name": "web-2"}}),
    ]


def test_an_update_that_was_half_done_is_not_one_of_which_nothing_was_sent(
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


def test_credentials_come_from_clouds_yaml_then_the_environment_then_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    ours = openstack_settings("http://settings.example", monkeypatch)

    def auth_url(settings: Settings) -> str:
        return OpenStackBackend.from_settings(settings).describe()["auth_url"]

    assert auth_url(ours) == "http://settings.example/identity/v3"
    monkeypatch.setenv("OS_AUTH_URL", "http://u:pw@environment.example/v3")
    for name in ("USERNAME", "PASSWORD", "PROJECT_NAME"):
        monkeypatch.setenv(f"OS_{name}", "x")
    assert auth_url(ours) == "http://environment.example/v3"
    clouds = tmp_path / "clouds.yaml"
    auth = "{auth_url: 'http://clouds.example/v3', username: u, password: p, project_name: q}"
    clouds.write_text(f"clouds: {{mine: {{auth: {auth}, region_name: R1}}}}")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
    described = OpenStackBackend.from_settings(replace(ours, os_cloud="mine")).describe()
    assert described == {
        "backend": "openstack",
        "cloud": "mine",
        "auth_url": "http://clouds.example/v3",
        "project": "q",
        "region": "R1",
        "sees": "its own project only",
        "microversion": "not asked yet",
    }
    with pytest.raises(errors.SettingsError, match="nobody"):
        OpenStackBackend.from_settings(replace(ours, os_cloud="nobody"))


def test_incomplete_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(errors.SettingsError, match="OPENSTACK_PASSWORD"):
        OpenStackBackend.from_settings(openstack_settings("http://x", monkeypatch, password=None))
    with pytest.raises(errors.SettingsError, match="OS_CLOUD"):
        OpenStackBackend.from_settings(Settings())


def test_the_sdk_is_loaded_with_this_driver_only() -> None:
    imports = "import sys, vmapi.backends.base, vmapi.settings.settings"
    code = f"{imports}; sys.exit('openstack' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
