"""GraphQL subscriptions: the events of /events, by the protocol of graphql-sse."""

import threading
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
import strawberry
from werkzeug.test import TestResponse

from tests.support.api_harness import ApiHarness
from tests.support.auth_harness import AuthHarness
from tests.support.event_stream import (
    LIFECYCLE_EVENTS,
    EventStream,
    OpenStream,
    list_sequences,
    run_lifecycle,
)
from tests.support.http_client import wait_until
from vmapi.api.graphql import event_results
from vmapi.domain.event import Event
from vmapi.settings.settings import Settings

ALL_EVENTS = """subscription ($filter: EventFilter, $last: String) {
  events(filter: $filter, lastEventId: $last) {
    id kind at vmId vm { name status metadata } operation { id action status error bulk } } }"""


def subscribe(
    open_stream: OpenStream, *, header: str | None = None, **variables: Any
) -> EventStream:
    """Open a stream with variables, and with the header `Last-Event-ID`."""
    params = {"query": ALL_EVENTS, "variables": orjson.dumps(variables).decode()}
    return open_stream(f"?{urlencode(params)}", header, path="/graphql")


def read_events(stream: EventStream, count: int) -> list[Any]:
    return [stream.read_result()["data"]["events"] for _ in range(count)]


def send_subscription(harness: ApiHarness, query: str, **headers: str) -> TestResponse:
    accept = {"Accept": "text/event-stream", **headers}
    return harness.client.post("/graphql", json={"query": query}, headers=accept)


def test_subscription_has_the_events_of_the_rest_api(
    harness: ApiHarness, open_stream: OpenStream
) -> None:
    rest, stream = open_stream(), subscribe(open_stream)
    assert stream.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    assert rest.read_heartbeat() == stream.read_heartbeat()
    run_lifecycle(harness)
    events = read_events(stream, len(LIFECYCLE_EVENTS))
    for event, expected in zip(events, rest.read_events(len(LIFECYCLE_EVENTS)), strict=True):
        assert (event["id"], event["at"]) == (expected["id"], expected["at"])
        assert event["kind"] == expected["kind"].replace(".", "_").upper()
        assert event["vmId"] == expected["vm_id"]
        for member in ("vm", "operation"):
            assert bool(event[member]) == bool(expected[member])
        if event["vm"]:
            assert event["vm"] == {name: expected["vm"][name] for name in event["vm"]}
        else:
            assert event["operation"]["id"] == expected["operation"]["id"]


def test_filter_selects_as_in_the_rest_api(harness: ApiHarness, open_stream: OpenStream) -> None:
    filters = {"kind": ["VM_CREATED", "VM_DELETED"], "selector": "env=prod"}
    stream = subscribe(open_stream, filter=filters)
    stream.read_heartbeat()
    harness.create("web-1")
    vm_id = harness.create("web-2", metadata={"env": "prod"})["id"]
    harness.call("DELETE", f"/vms/{vm_id}")
    events = read_events(stream, 2)
    assert [event["kind"] for event in events] == ["VM_CREATED", "VM_DELETED"]
    assert {event["vmId"] for event in events} == {vm_id}


@pytest.mark.parametrize("name", ["header", "last"])
def test_subscription_resumes_after_the_last_event(
    harness: ApiHarness, open_stream: OpenStream, name: str
) -> None:
    run_lifecycle(harness)
    first, *rest = list_sequences(harness)
    stream = subscribe(open_stream, **{name: first})
    stream.read_heartbeat()
    assert [event["id"] for event in read_events(stream, len(rest))] == rest


def test_gap_is_an_event(harness: ApiHarness, open_stream: OpenStream) -> None:
    run_lifecycle(harness)
    stream = subscribe(open_stream, last="1")
    reset, following = read_events(stream, 2)
    assert (reset["id"], reset["kind"], reset["at"]) == (None, "EVENTS_RESET", None)
    assert following["id"] == list_sequences(harness)[0]


def test_failed_operation_has_its_problem(harness: ApiHarness, open_stream: OpenStream) -> None:
    stream = subscribe(open_stream, filter={"kind": ["OPERATION_FAILED"]})
    stream.read_heartbeat()
    harness.backend.set_faults("no_capacity=1")
    harness.create()
    harness.run_until_settled()
    (event,) = read_events(stream, 1)
    assert event["operation"]["error"]["code"] == "no_capacity"


@pytest.mark.parametrize("open_stream", ["worker"], indirect=True)
def test_poller_thread_executes_no_document(
    harness: ApiHarness, open_stream: OpenStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[str] = set()
    execute = event_results.EventResults.format_event

    def record(self: event_results.EventResults, event: Event) -> bytes:
        threads.add(threading.current_thread().name.rpartition("_")[0])
        return execute(self, event)

    monkeypatch.setattr(event_results.EventResults, "format_event", record)
    streams = [subscribe(open_stream) for _ in range(3)]
    run_lifecycle(harness)
    sequences = []
    for stream in streams:
        stream.read_heartbeat()
        sequences.append([event["id"] for event in read_events(stream, len(LIFECYCLE_EVENTS))])
    assert sequences == [list_sequences(harness)] * 3
    assert threads == {"stream-loader"}


def test_document_is_validated_once(
    harness: ApiHarness, open_stream: OpenStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the document was validated again")

    stream = subscribe(open_stream)
    stream.read_heartbeat()
    harness.call("GET", "/vms")
    monkeypatch.setattr(strawberry.Schema, "execute_sync", fail)
    run_lifecycle(harness)
    assert len(read_events(stream, len(LIFECYCLE_EVENTS))) == len(LIFECYCLE_EVENTS)


class TestSlots:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(log_level="CRITICAL", event_streams=2, threads=8)

    def test_subscriptions_take_the_slots_of_event_streams(
        self, harness: ApiHarness, open_stream: OpenStream
    ) -> None:
        stream, _ = subscribe(open_stream), open_stream()
        response = send_subscription(harness, "subscription { events { id } }")
        assert (response.status_code, response.headers["Retry-After"]) == (429, "5")
        problem = response.json["errors"][0]["extensions"]
        assert problem["detail"] == "All slots are in use: at most 2 event streams are open here."
        stream.close()
        wait_until("a free slot", lambda: self.is_slot_free(harness))

    def is_slot_free(self, harness: ApiHarness) -> bool:
        return harness.call("HEAD", "/events", buffered=True).status_code == 200


def test_stream_of_a_query_has_one_result(harness: ApiHarness) -> None:
    response = send_subscription(harness, "{ vms { totalCount } }")
    assert response.mimetype == "text/event-stream"
    result = b'{"data":{"vms":{"totalCount":0}}}'
    assert response.data == b"event: next\ndata: %s\n\nevent: complete\ndata: \n\n" % result


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("subscription { nothing }", "Cannot query field 'nothing' on type 'Subscription'."),
        ("subscription {", "Syntax Error: Expected Name, found <EOF>."),
        (
            "subscription { events { vm { operations { totalCount } } } }",
            "A subscription has no pages: query them with a separate request.",
        ),
    ],
)
def test_invalid_subscription_is_400(harness: ApiHarness, query: str, detail: str) -> None:
    response = send_subscription(harness, query)
    assert (response.status_code, response.mimetype) == (400, "application/json")
    assert response.json["errors"][0]["message"] == detail


@pytest.mark.parametrize(
    ("filter", "pointer"),
    [('{selector: "a in"}', "/selector"), ("{vmId: []}", "/vmId"), ("{kind: []}", "/kind")],
)
def test_invalid_argument_is_named(harness: ApiHarness, filter: str, pointer: str) -> None:
    response = send_subscription(harness, f"subscription {{ events(filter: {filter}) {{ id }} }}")
    first, second = response.data.decode().strip().split("\n\n")
    error = orjson.loads(first.removeprefix("event: next\ndata: "))["errors"][0]
    assert error["extensions"]["errors"][0]["pointer"] == pointer
    assert second == "event: complete\ndata:"


def test_subscription_needs_an_event_stream(harness: ApiHarness) -> None:
    body = {"query": "subscription { events { id } }"}
    response = harness.client.post(
        "/graphql", json=body, headers={"Accept": "application/graphql-response+json"}
    )
    detail = "A subscription needs the header Accept: text/event-stream."
    assert (response.status_code, response.json["errors"][0]["message"]) == (400, detail)


def test_mutation_of_an_event_stream_is_refused_for_get(harness: ApiHarness) -> None:
    response = harness.client.get(
        "/graphql?query=mutation{__typename}", headers={"Accept": "text/event-stream"}
    )
    assert response.status_code == 405


def test_subscription_ends_with_its_token(harness: ApiHarness, open_stream: OpenStream) -> None:
    auth = AuthHarness(harness)
    token = auth.create_token("viewer")
    params = urlencode({"query": "subscription { events { id } }"})
    stream = open_stream(f"?{params}", token=token, path="/graphql")
    stream.read_heartbeat()
    ((row, _),) = harness.services.api_tokens.list_tokens()
    harness.services.api_tokens.revoke(row.id, "cli:me")
    assert list(stream.remaining_blocks()) == []
