"""Project isolation: callers see and change the VMs of their project only."""

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
from vmapi.domain.access.caller import Caller, IdempotencyKey
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
def default(harness: ApiHarness) -> Iterator[None]:
    """Make callers operators of the project default."""
    with as_project(harness, "default"):
        yield


@pytest.fixture
def harness(harness: ApiHarness) -> Iterator[ApiHarness]:
    """A harness with callers of the default project."""
    with as_project(harness, "default"):
        yield harness


@pytest.fixture
def foreign_vm_id(harness: ApiHarness) -> str:
    """The id of a VM of another project."""
    with as_project(harness, "other"):
        return harness.create_running("web-1", metadata={"owner": "other"})


@pytest.fixture
def foreign_vm_unchanged(harness: ApiHarness, foreign_vm_id: str) -> Iterator[None]:
    """Check that the VM of the other project is unchanged."""
    with as_project(harness, "other"):
        before = (harness.get_vm(foreign_vm_id), harness.get_json("/operations"))
    yield
    with as_project(harness, "other"):
        assert (harness.get_vm(foreign_vm_id), harness.get_json("/operations")) == before


def comparable_response(response: TestResponse, vm_id: str) -> Any:
    """Return a response without its request id and the VM id."""
    headers = {name: text for name, text in response.headers.items() if name != "X-Request-ID"}
    headers.pop("Content-Length")
    body = response.text.replace(vm_id, "ID").replace(response.headers["X-Request-ID"], "REQUEST")
    return response.status_code, headers, body


@on_a_vm
@pytest.mark.usefixtures("foreign_vm_unchanged")
def test_vm_of_another_project_is_reported_missing(
    harness: ApiHarness, foreign_vm_id: str, method: str, below: str, body: Any
) -> None:
    def ask(vm_id: str, **headers: str) -> Any:
        kwargs = {} if body is None else {"json": body}
        return comparable_response(
            harness.call(method, f"/vms/{vm_id}{below}", headers=headers, **kwargs), vm_id
        )

    response = ask(foreign_vm_id)
    assert response == ask(UNKNOWN_ID)
    assert response[0] == 404
    assert '"detail":"There is no VM of this id. GET /api/v1/vms lists all VMs."' in response[2]
    if method == "GET":
        fresh = {"Cache-Control": "no-cache"}
        assert ask(foreign_vm_id, **fresh) == ask(UNKNOWN_ID, **fresh) == response
        tag = {"If-None-Match": "*"}
    else:
        assert ask(foreign_vm_id, **KEY) == ask(UNKNOWN_ID, **KEY) == response
        tag = {"If-Match": '"1"'}
    assert ask(foreign_vm_id, **tag) == ask(UNKNOWN_ID, **tag) == response


def test_deleted_vm_is_reported_missing(harness: ApiHarness, foreign_vm_id: str) -> None:
    own = harness.create_running("web-2")
    harness.call("DELETE", f"/vms/{own}")
    with as_project(harness, "other"):
        harness.call("DELETE", f"/vms/{foreign_vm_id}")
    responses = [
        comparable_response(harness.call("GET", f"/vms/{vm_id}"), vm_id)
        for vm_id in (own, foreign_vm_id, UNKNOWN_ID)
    ]
    assert responses[0] == responses[1] == responses[2]
    deleted = harness.get_json("/vms?status=DELETED")
    assert ([vm["id"] for vm in deleted["items"]], deleted["total"]) == ([own], 1)


@pytest.mark.usefixtures("foreign_vm_unchanged")
def test_lists_and_totals_cover_the_project_only(harness: ApiHarness, foreign_vm_id: str) -> None:
    own = harness.create_running("web-2")
    for query in ("", "?name=web*", "?sort=name", "?status=RUNNING", "?flavor=m1.tiny"):
        page = harness.get_json(f"/vms{query}")
        assert ([vm["id"] for vm in page["items"]], page["total"]) == ([own], 1)
    for query in ("", "?action=create", "?status=succeeded"):
        page = harness.get_json(f"/operations{query}")
        assert ([item["vm_id"] for item in page["items"]], page["total"]) == ([own], 1)
    assert harness.get_json(f"/operations?vm_id={foreign_vm_id}")["total"] == 0


def test_cursor_is_valid_in_its_project_only(harness: ApiHarness, foreign_vm_id: str) -> None:
    for number in range(2):
        harness.create_running(f"web-{number}")
    for path in ("/vms", "/operations"):
        following = harness.get_json(f"{path}?page_size=1")["next"]
        assert harness.client.get(following).status_code == 200
        with as_project(harness, "other"):
            refused = harness.client.get(following)
        assert (refused.status_code, refused.json["code"]) == (422, "validation_error")


def test_events_cover_the_project_only(
    harness: ApiHarness, foreign_vm_id: str, open_stream: OpenStream
) -> None:
    own = harness.create_running("web-2")
    stream = open_stream("?last_event_id=0")
    assert stream.read_event()["kind"] == "events.reset"
    assert {event["vm_id"] for event in stream.read_events(2)} == {own}
    with as_project(harness, "other"):
        foreign_response = open_stream("?last_event_id=0")
        harness.post_action(foreign_vm_id, "stop")
        harness.run_until_settled()
    harness.post_action(own, "stop")
    harness.run_until_settled()
    assert {event["vm_id"] for event in stream.read_events(2)} == {own}
    assert foreign_response.read_event()["kind"] == "events.reset"
    assert {event["vm_id"] for event in foreign_response.read_events(5)} == {foreign_vm_id}


def test_operation_of_another_project_is_reported_missing(
    harness: ApiHarness, foreign_vm_id: str
) -> None:
    with as_project(harness, "other"):
        foreign_response = harness.get_json("/operations")["items"][0]["id"]
        assert harness.get_json(f"/operations/{foreign_response}")["vm_id"] == foreign_vm_id
    for headers in ({}, {"Prefer": "wait=60"}):
        responses = [
            comparable_response(
                harness.call("GET", f"/operations/{operation_id}", headers=headers), operation_id
            )
            for operation_id in (foreign_response, UNKNOWN_ID)
        ]
        assert responses[0] == responses[1]
        assert responses[0][0] == 404


@pytest.mark.usefixtures("foreign_vm_unchanged")
def test_bulk_changes_the_project_only(harness: ApiHarness, foreign_vm_id: str) -> None:
    own = harness.create_running("web-2")
    items = harness.post(
        "/vms/actions", {"action": "stop", "ids": [foreign_vm_id, UNKNOWN_ID, own]}
    ).json
    errors = [item.get("error") for item in items["items"]]
    assert errors[0] == errors[1] is not None
    assert errors[0]["code"] == "vm_not_found"
    assert errors[2] is None
    harness.run_until_settled()
    everything = harness.post("/vms/actions", {"action": "start", "filter": {"name": "*"}}).json
    assert [item["vm_id"] for item in everything["items"]] == [own]


@pytest.mark.usefixtures("foreign_vm_unchanged")
def test_names_are_unique_within_a_project(harness: ApiHarness, foreign_vm_id: str) -> None:
    own = harness.create_running("web-1")
    assert own != foreign_vm_id
    response = harness.post("/vms", CREATE_BODY)
    assert (response.status_code, response.json["vm_id"]) == (409, own)
    other = harness.create_running("web-2")
    renamed = harness.call("PATCH", f"/vms/{other}", json={"name": "web-1"})
    assert (renamed.status_code, renamed.json["vm_id"]) == (409, own)


def test_external_vm_belongs_to_default_project(harness: ApiHarness) -> None:
    outside = harness.backend.create_vm(SPEC, "another-operation").vm_id
    assert harness.get_vm(outside)["name"] == "web-1"
    with as_project(harness, "other"):
        assert harness.call("GET", f"/vms/{outside}").status_code == 404
        assert harness.create("web-1")["id"] != outside
    response = harness.post("/vms", CREATE_BODY)
    assert (response.status_code, response.json["vm_id"]) == (409, outside)


def test_vm_moved_to_another_project_releases_its_name(harness: ApiHarness) -> None:
    kwargs = harness.create_running("web-1")
    harness.backend.update_vm(kwargs, VMPatch(metadata={"vmapi.project": "other"}))
    assert harness.get_json("/vms")["total"] == 0
    created = harness.create("web-1")
    assert created["id"] != kwargs
    with as_project(harness, "other"):
        assert harness.get_vm(kwargs)["metadata"] == {}


def test_idempotency_key_is_bound_to_the_project(harness: ApiHarness) -> None:
    def create() -> TestResponse:
        return harness.call("POST", "/vms", json=CREATE_BODY, headers=KEY)

    with as_project(harness, "other"):
        foreign_response = create()
    own = create()
    assert "Idempotent-Replayed" not in own.headers
    assert own.json["id"] != foreign_response.json["id"]
    for project, first in (("default", own), ("other", foreign_response)):
        with as_project(harness, project):
            again = create()
            assert again.headers["Idempotent-Replayed"] == "true"
            assert again.json["id"] == first.json["id"]
            page = harness.get_json("/operations?idempotency_key=k-1")
            assert [item["vm_id"] for item in page["items"]] == [first.json["id"]]


def test_project_metadata_is_hidden_and_reserved(harness: ApiHarness) -> None:
    vm_id = harness.create_running("web-1", metadata={"a": "b"})
    assert harness.get_vm(vm_id)["metadata"] == {"a": "b"}
    for mark in ("other", None):
        changed = {"metadata": {"vmapi.project": mark}}
        assert harness.call("PATCH", f"/vms/{vm_id}", json=changed).status_code == 422
    created = harness.post(
        "/vms", {**CREATE_BODY, "name": "web-2", "metadata": {"vmapi.project": "o"}}
    )
    assert created.status_code == 422
    assert harness.call("PATCH", f"/vms/{vm_id}", json={"metadata": {"a": None}}).status_code == 200
    assert harness.backend.get_vm(vm_id).project == "default"


def test_audit_entry_names_the_project(harness: ApiHarness, foreign_vm_id: str) -> None:
    own = harness.create_running("web-2")
    vm_projects = {(entry.vm_id, entry.project) for entry in audit_rows(harness.app) if entry.vm_id}
    assert vm_projects == {(foreign_vm_id, "other"), (own, "default")}


# Admins


ADMIN = Caller("root", "r", project="admins", all_projects=True)


def test_admin_changes_vm_within_its_project(harness: ApiHarness, foreign_vm_id: str) -> None:
    vms, operations = harness.services.vms, harness.services.operations
    assert vms.get(foreign_vm_id, ADMIN.scope).vm.project == "other"
    key = IdempotencyKey("root", "k", "f" * 64, "admins")
    changed = vms.update(foreign_vm_id, VMPatch(name="web-9"), replace(ADMIN, key=key))
    assert changed.snapshot is not None
    assert changed.snapshot.vm.name == "web-9"
    assert operations.get(changed.operation.id, "other", "root").project == "other"
    again = vms.update(foreign_vm_id, VMPatch(name="web-9"), replace(ADMIN, key=key))
    assert (again.replayed, again.operation.id) == (True, changed.operation.id)
    # the name is reserved in the project of the VM
    with as_project(harness, "other"):
        response = harness.post("/vms", {**CREATE_BODY, "name": "web-9"})
        assert (response.status_code, response.json["vm_id"]) == (409, foreign_vm_id)
    with as_project(harness, "admins"):
        assert harness.get_json("/vms")["total"] == 0
        assert harness.create("web-9")["id"] != foreign_vm_id


def test_replay_hides_vm_moved_to_another_project(harness: ApiHarness) -> None:
    created = harness.call("POST", "/vms", json=CREATE_BODY, headers=KEY)
    harness.backend.update_vm(created.json["id"], VMPatch(metadata={"vmapi.project": "other"}))
    again = harness.call("POST", "/vms", json=CREATE_BODY, headers=KEY)
    assert (again.status_code, again.json["code"]) == (404, "vm_not_found")
