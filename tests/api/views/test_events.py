"""GET /events: content, filters and continuation of the stream."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.support.api_harness import CREATE_BODY, UNKNOWN_ID, ApiHarness
from tests.support.event_stream import (
    LIFECYCLE_EVENTS,
    OpenStream,
    list_sequences,
    newest_sequence,
    run_lifecycle,
)
from tests.support.operation_factory import OperationFactory
from vmapi.api.streams.event_format import EventJson
from vmapi.concurrency.nonblocking import WouldBlock
from vmapi.domain.event import Event, EventKind, EventQuery
from vmapi.domain.operation import OperationError, OperationStatus


def test_stream_reports_the_life_of_a_vm(
    harness: ApiHarness, open_stream: OpenStream, document: Any
) -> None:
    run_lifecycle(harness, "before")
    stream = open_stream()
    assert stream.read_heartbeat() == newest_sequence(harness)
    vm_id = run_lifecycle(harness)
    events = stream.read_events(len(LIFECYCLE_EVENTS))
    assert [event["kind"] for event in events] == LIFECYCLE_EVENTS
    assert {event["vm_id"] for event in events} == {vm_id}
    numbers = [int(event["id"]) for event in events]
    assert numbers == sorted(set(numbers))
    of_vm = [(event["vm"]["status"], event["vm"]["task"]) for event in events if event["vm"]]
    assert of_vm == [
        *(("RUNNING", None), ("RUNNING", "pausing"), ("PAUSED", None)),
        *(("PAUSED", "deleting"), ("DELETED", None)),
    ]
    of_operation = [event["operation"] for event in events if event["operation"]]
    assert [(operation["action"], operation["status"]) for operation in of_operation] == [
        *(("create", "succeeded"), ("pause", "succeeded"), ("delete", "succeeded"))
    ]
    schema = {"$ref": "#/components/schemas/Event", "components": document["components"]}
    for event in events:
        Draft202012Validator(schema).validate(event)


def test_event_data_equals_api_documents(harness: ApiHarness, open_stream: OpenStream) -> None:
    stream = open_stream()
    stream.read_heartbeat()
    created = harness.post("/vms", {**CREATE_BODY, "start": True})
    appeared, ended = stream.read_events(2)
    assert appeared["vm"] == harness.get_vm(created.json["id"])
    assert ended["operation"] == harness.get_operation(created)


def test_stream_is_not_cached_or_buffered(open_stream: OpenStream) -> None:
    headers = open_stream().headers
    assert headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert (headers["Cache-Control"], headers["X-Accel-Buffering"]) == ("no-store", "no")


def test_failed_operation_event_has_its_error(harness: ApiHarness, open_stream: OpenStream) -> None:
    stream = open_stream("?kind=operation.failed")
    stream.read_heartbeat()
    harness.backend.set_faults("no_capacity=1")
    created = harness.create()
    harness.run_until_settled()
    event = stream.read_event()
    assert (event["vm_id"], event["vm"]) == (created["id"], None)
    assert event["operation"]["error"]["code"] == "no_capacity"


def test_problem_of_an_event_needs_no_request(harness: ApiHarness) -> None:
    error = OperationError("vm_not_found", "Gone.", {"operation_id": "o-1"})
    make = OperationFactory(harness.clock)
    operation = make.finished(make("o-1"), status=OperationStatus.FAILED, error=error)
    event = Event(
        7, EventKind.OPERATION_FAILED, harness.clock(), "default", "vm", operation=operation
    )
    with harness.app.app_context():
        text = EventJson().format_event(event).decode()
    assert '"detail":"Gone. GET /api/v1/vms lists all VMs."' in text
    assert '"operation":"/api/v1/operations/o-1"' in text


@pytest.mark.parametrize("by", ["header", "query", "both"])
def test_reconnect_misses_no_event(harness: ApiHarness, open_stream: OpenStream, by: str) -> None:
    first = open_stream()
    first.read_heartbeat()
    run_lifecycle(harness)
    event_ids = [event["id"] for event in first.read_events(3)]
    first.close()
    run_lifecycle(harness, "web-2")
    query = "" if by == "header" else f"?last_event_id={event_ids[-1] if by == 'query' else 'x'}"
    second = open_stream(query, None if by == "query" else event_ids[-1])
    assert second.read_heartbeat() == event_ids[-1]
    event_ids += [event["id"] for event in second.read_events(2 * len(LIFECYCLE_EVENTS) - 3)]
    run_lifecycle(harness, "web-3")
    event_ids += [event["id"] for event in second.read_events(len(LIFECYCLE_EVENTS))]
    assert event_ids == list_sequences(harness)


def test_reconnect_works_after_a_silent_stream(
    harness: ApiHarness, open_stream: OpenStream
) -> None:
    run_lifecycle(harness, "before")
    first = open_stream(f"?vm_id={UNKNOWN_ID}")
    last = first.read_heartbeat()
    first.close()
    run_lifecycle(harness)
    second = open_stream("", last)
    assert second.read_heartbeat() == last
    assert second.read_kinds(len(LIFECYCLE_EVENTS)) == LIFECYCLE_EVENTS


@pytest.mark.parametrize(
    "last", ["nowhere", "-1", "0", "1", "999999999999999999", "9" * 30, "%D9%A3"]
)
def test_unknown_last_event_id_resets_the_stream(
    harness: ApiHarness, open_stream: OpenStream, last: str
) -> None:
    run_lifecycle(harness)
    stream = open_stream(f"?kind=vm.deleted&last_event_id={last}")
    assert stream.read_event() == {
        **dict.fromkeys(("id", "at", "vm_id", "vm", "operation")),
        "kind": "events.reset",
    }
    assert stream.read_kinds(1) == ["vm.deleted"]
    run_lifecycle(harness, "web-2")
    assert stream.read_kinds(1) == ["vm.deleted"]


def test_empty_last_event_id_is_ignored(harness: ApiHarness, open_stream: OpenStream) -> None:
    run_lifecycle(harness)
    assert open_stream("?last_event_id=", "").read_heartbeat() == newest_sequence(harness)


def test_filters_select_events(harness: ApiHarness, open_stream: OpenStream) -> None:
    first_id, second_id = harness.create_running("web-1"), harness.create_running("web-2")
    last = list_sequences(harness)[0]
    queries = [
        f"?vm_id={second_id.upper()}&vm_id={UNKNOWN_ID}",
        "?kind=vm.deleted&kind=operation.succeeded",
        f"?vm_id={first_id}&kind=vm.deleted",
    ]
    streams = [open_stream(query, last) for query in queries]
    for stream in streams:
        stream.read_heartbeat()
    for vm_id in (first_id, second_id):
        harness.call("DELETE", f"/vms/{vm_id}")
    delete_kinds = ["vm.changed", "vm.deleted", "operation.succeeded"]
    create_kinds = ["vm.created", "operation.succeeded"]
    assert streams[0].read_kinds(5) == [*create_kinds, *delete_kinds]
    ended, deleted = "operation.succeeded", "vm.deleted"
    assert streams[1].read_kinds(6) == [ended, ended, deleted, ended, deleted, ended]
    assert streams[2].read_event()["vm_id"] == first_id


def test_selector_selects_events_by_the_vm_that_they_show(
    harness: ApiHarness, open_stream: OpenStream
) -> None:
    run_lifecycle(harness, "before")
    stream = open_stream("?selector=env%3Dprod,!old", newest_sequence(harness))
    stream.read_heartbeat()
    ids = [harness.create_running(f"web-{env}", metadata={"env": env}) for env in ("prod", "dev")]
    harness.call("PATCH", f"/vms/{ids[1]}", json={"metadata": {"env": "prod"}})
    harness.run_until_settled()
    harness.call("PATCH", f"/vms/{ids[1]}", json={"metadata": {"old": ""}})
    harness.run_until_settled()
    for vm_id in reversed(ids):
        harness.call("DELETE", f"/vms/{vm_id}")
    shown = [stream.read_event()]
    while shown[-1]["kind"] != "vm.deleted":
        shown.append(stream.read_event())
    assert {event["vm_id"] for event in shown} == set(ids)
    assert [event["vm"]["metadata"] for event in shown] == [{"env": "prod"}] * len(shown)
    assert shown[-1]["vm_id"] == ids[0]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("?kind=vm.moved", "/kind/0"),
        ("?kind=events.reset", "/kind/0"),
        ("?vm_id=", "/vm_id/0"),
        ("?project=other", "/project"),
        ("?selector=env%20prod", "/selector"),
        ("?selector=env&kind=operation.failed", "/selector"),
        ("?last_event_id=1&last_event_id=2", "/last_event_id"),
    ],
)
def test_invalid_filter_is_refused(harness: ApiHarness, query: str, pointer: str) -> None:
    response = harness.call("GET", f"/events{query}")
    assert (response.status_code, response.json["code"]) == (422, "validation_error")
    assert response.json["errors"][0]["pointer"] == pointer


def test_events_of_other_projects_are_hidden(harness: ApiHarness) -> None:
    vm_id = run_lifecycle(harness)
    for project, kinds in (("other", []), ("default", LIFECYCLE_EVENTS)):
        query = EventQuery(project=project, vm_ids=frozenset({vm_id}))
        subscription = harness.services.events.subscribe(query, "me", "0", holds_thread=False)
        with pytest.raises(WouldBlock):
            subscription.read()
        subscription.load()
        batch = subscription.read()
        assert [event.kind for event in batch.events] == kinds
        assert str(batch.last) == newest_sequence(harness)
        subscription.close()
