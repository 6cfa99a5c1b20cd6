"""Callers see and touch what is their project's, and cannot tell what is not."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.support.api_harness import CREATE_BODY, UNKNOWN_ID, ApiHarness
from tests.support.audit_rows import audit_rows
from tests.support.event_stream import OpenStream
from tests.support.project_callers import as_project
from vmapi.backends.memory.catalog import FLAVORS, IMAGES
from vmapi.domain.caller import Caller, IdempotencyKey
from vmapi.domain.vm import CreateSpec, VMPatch

KEY = {"Idempotency-Key": "k-1"}
SPEC = CreateSpec("web-1", min(FLAVORS), min(IMAGES), None, {}, None, None, ())

ON_A_VM = [
    ("GET", "", None),
    ("GET", "/status", None),
    ("GET", "/console", None),
    ("PATCH", "", {"metadata": {"a": "b"}}),
    ("PATCH", "", {"name": "web-1"}),
    ("DELETE", "", None),
    *(("POST", f"/{action}", None) for action in ("start", "stop", "restart", "pause", "resume")),
]
on_a_vm = pytest.mark.parametrize(("method", "below", "body"), ON_A_VM)


@pytest.fixture(autouse=True)
def default(world: ApiHarness) -> Iterator[None]:
    """Let callers be of the project default, where nothing else is said."""
    with as_project(world, "default"):
        yield


@pytest.fixture
def world(world: ApiHarness) -> Iterator[ApiHarness]:
    """A world whose callers are of the default project, unless they act for another."""
    with as_project(world, "default"):
        yield world


@pytest.fixture
def foreign(world: ApiHarness) -> str:
    """The id of a VM of another project."""
    with as_project(world, "other"):
        return world.create_running("web-1", metadata={"whose": "other"})


@pytest.fixture
def theirs(world: ApiHarness, foreign: str) -> Iterator[None]:
    """See that the VM of the other project is as it was."""
    with as_project(world, "other"):
        before = (world.get_vm(foreign), world.get_json("/operations"))
    yield
    with as_project(world, "other"):
        assert (world.get_vm(foreign), world.get_json("/operations")) == before


def said(answer: TestResponse, vm_id: str) -> Any:
    """Return all that an answer says, but for what was asked and the request's own id."""
    headers = {name: text for name, text in answer.headers.items() if name != "X-Request-ID"}
    headers.pop("Content-Length")
    body = answer.text.replace(vm_id, "ID").replace(answer.headers["X-Request-ID"], "REQUEST")
    return answer.status_code, headers, body


@on_a_vm
@pytest.mark.usefixtures("theirs")
def test_vm_of_another_project_looks_missing(
    world: ApiHarness, foreign: str, method: str, below: str, body: Any
) -> None:
    def ask(vm_id: str, **headers: str) -> Any:
        given = {} if body is None else {"json": body}
        return said(world.call(method, f"/vms/{vm_id}{below}", headers=headers, **given), vm_id)

    answer = ask(foreign)
    assert answer == ask(UNKNOWN_ID)
    assert answer[0] == 404
    assert '"detail":"There is no VM of this id."' in answer[2]
    if method == "GET":
        fresh = {"Cache-Control": "no-cache"}
        assert ask(foreign, **fresh) == ask(UNKNOWN_ID, **fresh) == answer
        tag = {"If-None-Match": "*"}
    else:
        assert ask(foreign, **KEY) == ask(UNKNOWN_ID, **KEY) == answer
        tag = {"If-Match": '"1"'}
    assert ask(foreign, **tag) == ask(UNKNOWN_ID, **tag) == answer


def test_deleted_vm_looks_missing(world: ApiHarness, foreign: str) -> None:
    mine = world.create_running("web-2")
    world.call("DELETE", f"/vms/{mine}")
    with as_project(world, "other"):
        world.call("DELETE", f"/vms/{foreign}")
    answers = [
        said(world.call("GET", f"/vms/{each}"), each) for each in (mine, foreign, UNKNOWN_ID)
    ]
    assert answers[0] == answers[1] == answers[2]
    deleted = world.get_json("/vms?status=DELETED")
    assert ([vm["id"] for vm in deleted["items"]], deleted["total"]) == ([mine], 1)


@pytest.mark.usefixtures("theirs")
def test_lists_and_totals_cover_the_project_only(world: ApiHarness, foreign: str) -> None:
    mine = world.create_running("web-2")
    for query in ("", "?name=web*", "?sort=name", "?status=RUNNING", "?flavor=m1.tiny"):
        found = world.get_json(f"/vms{query}")
        assert ([vm["id"] for vm in found["items"]], found["total"]) == ([mine], 1)
    for query in ("", "?action=create", "?status=succeeded"):
        found = world.get_json(f"/operations{query}")
        assert ([each["vm_id"] for each in found["items"]], found["total"]) == ([mine], 1)
    assert world.get_json(f"/operations?vm_id={foreign}")["total"] == 0


def test_cursor_is_valid_in_its_project_only(world: ApiHarness, foreign: str) -> None:
    for number in range(2):
        world.create_running(f"web-{number}")
    for path in ("/vms", "/operations"):
        following = world.get_json(f"{path}?page_size=1")["next"]
        assert world.client.get(following).status_code == 200
        with as_project(world, "other"):
            refused = world.client.get(following)
        assert (refused.status_code, refused.json["code"]) == (422, "validation_error")


def test_events_cover_the_project_only(world: ApiHarness, foreign: str, listen: OpenStream) -> None:
    mine = world.create_running("web-2")
    stream = listen("?last_event_id=0")
    assert stream.read_event()["kind"] == "events.reset"
    assert {event["vm_id"] for event in stream.read_events(3)} == {mine}
    with as_project(world, "other"):
        theirs = listen("?last_event_id=0")
        world.post_action(foreign, "stop")
        world.run_until_settled()
    world.post_action(mine, "stop")
    world.run_until_settled()
    assert {event["vm_id"] for event in stream.read_events(2)} == {mine}
    assert theirs.read_event()["kind"] == "events.reset"
    assert {event["vm_id"] for event in theirs.read_events(5)} == {foreign}


def test_operation_of_another_project_looks_missing(world: ApiHarness, foreign: str) -> None:
    with as_project(world, "other"):
        theirs = world.get_json("/operations")["items"][0]["id"]
        assert world.get_json(f"/operations/{theirs}")["vm_id"] == foreign
    for headers in ({}, {"Prefer": "wait=60"}):
        answers = [
            said(world.call("GET", f"/operations/{each}", headers=headers), each)
            for each in (theirs, UNKNOWN_ID)
        ]
        assert answers[0] == answers[1]
        assert answers[0][0] == 404


@pytest.mark.usefixtures("theirs")
def test_bulk_changes_the_project_only(world: ApiHarness, foreign: str) -> None:
    mine = world.create_running("web-2")
    items = world.post("/vms/actions", {"action": "stop", "ids": [foreign, UNKNOWN_ID, mine]}).json
    errors = [item.get("error") for item in items["items"]]
    assert errors[0] == errors[1] is not None
    assert errors[0]["code"] == "vm_not_found"
    assert errors[2] is None
    world.run_until_settled()
    everything = world.post("/vms/actions", {"action": "start", "filter": {"name": "*"}}).json
    assert [item["vm_id"] for item in everything["items"]] == [mine]


@pytest.mark.usefixtures("theirs")
def test_names_are_unique_within_a_project(world: ApiHarness, foreign: str) -> None:
    mine = world.create_running("web-1")
    assert mine != foreign
    taken = world.post("/vms", CREATE_BODY)
    assert (taken.status_code, taken.json["vm_id"]) == (409, mine)
    other = world.create_running("web-2")
    renamed = world.call("PATCH", f"/vms/{other}", json={"name": "web-1"})
    assert (renamed.status_code, renamed.json["vm_id"]) == (409, mine)


def test_external_vm_belongs_to_default_project(world: ApiHarness) -> None:
    outside = world.backend.create_vm(SPEC, "somebody else's").vm_id
    assert world.get_vm(outside)["name"] == "web-1"
    with as_project(world, "other"):
        assert world.call("GET", f"/vms/{outside}").status_code == 404
        assert world.create("web-1")["id"] != outside
    taken = world.post("/vms", CREATE_BODY)
    assert (taken.status_code, taken.json["vm_id"]) == (409, outside)


def test_vm_moved_to_another_project_releases_its_name(world: ApiHarness) -> None:
    given = world.create_running("web-1")
    world.backend.update_vm(given, VMPatch(metadata={"vmapi.project": "other"}))
    assert world.get_json("/vms")["total"] == 0
    made = world.create("web-1")
    assert made["id"] != given
    with as_project(world, "other"):
        assert world.get_vm(given)["metadata"] == {}


def test_idempotency_key_is_bound_to_the_project(world: ApiHarness) -> None:
    def create() -> TestResponse:
        return world.call("POST", "/vms", json=CREATE_BODY, headers=KEY)

    with as_project(world, "other"):
        theirs = create()
    mine = create()
    assert "Idempotent-Replayed" not in mine.headers
    assert mine.json["id"] != theirs.json["id"]
    for project, first in (("default", mine), ("other", theirs)):
        with as_project(world, project):
            again = create()
            assert again.headers["Idempotent-Replayed"] == "true"
            assert again.json["id"] == first.json["id"]
            found = world.get_json("/operations?idempotency_key=k-1")
            assert [each["vm_id"] for each in found["items"]] == [first.json["id"]]


def test_project_metadata_is_hidden_and_reserved(world: ApiHarness) -> None:
    vm_id = world.create_running("web-1", metadata={"a": "b"})
    assert world.get_vm(vm_id)["metadata"] == {"a": "b"}
    for mark in ("other", None):
        changed = {"metadata": {"vmapi.project": mark}}
        assert world.call("PATCH", f"/vms/{vm_id}", json=changed).status_code == 422
    made = world.post("/vms", {**CREATE_BODY, "name": "web-2", "metadata": {"vmapi.project": "o"}})
    assert made.status_code == 422
    assert world.call("PATCH", f"/vms/{vm_id}", json={"metadata": {"a": None}}).status_code == 200
    assert world.backend.get_vm(vm_id).project == "default"


def test_audit_entry_names_the_project(world: ApiHarness, foreign: str) -> None:
    mine = world.create_running("web-2")
    told = {(entry.vm_id, entry.project) for entry in audit_rows(world.app) if entry.vm_id}
    assert told == {(foreign, "other"), (mine, "default")}


# Who has all projects


ADMIN = Caller("root", "r", project="admins", all_projects=True)


def test_admin_changes_vm_within_its_project(world: ApiHarness, foreign: str) -> None:
    vms, operations = world.services.vms, world.services.operations
    assert vms.get(foreign, ADMIN.scope).vm.project == "other"
    key = IdempotencyKey("root", "k", "f" * 64, "admins")
    changed = vms.update(foreign, VMPatch(name="web-9"), replace(ADMIN, key=key))
    assert changed.snapshot is not None
    assert changed.snapshot.vm.name == "web-9"
    assert operations.get(changed.operation.id, "other", "root").project == "other"
    again = vms.update(foreign, VMPatch(name="web-9"), replace(ADMIN, key=key))
    assert (again.replayed, again.operation.id) == (True, changed.operation.id)
    # the name is claimed where the VM is
    with as_project(world, "other"):
        taken = world.post("/vms", {**CREATE_BODY, "name": "web-9"})
        assert (taken.status_code, taken.json["vm_id"]) == (409, foreign)
    with as_project(world, "admins"):
        assert world.get_json("/vms")["total"] == 0
        assert world.create("web-9")["id"] != foreign


def test_replay_hides_vm_moved_to_another_project(world: ApiHarness) -> None:
    made = world.call("POST", "/vms", json=CREATE_BODY, headers=KEY)
    world.backend.update_vm(made.json["id"], VMPatch(metadata={"vmapi.project": "other"}))
    again = world.call("POST", "/vms", json=CREATE_BODY, headers=KEY)
    assert (again.status_code, again.json["code"]) == (404, "vm_not_found")
