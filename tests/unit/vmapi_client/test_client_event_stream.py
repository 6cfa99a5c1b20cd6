"""Event streams of the Python client: parsing, filters, and resumption."""

import json
from typing import Any

import pytest

from tests.support.client_plans import (
    LOST,
    PlanRunner,
    respond_with_problem,
)
from vmapi_client.core.event_stream import EventFilter, EventStream, ServerSentEvents
from vmapi_client.core.exchange import Attempt, Failure, Response
from vmapi_client.errors import Forbidden, HostNotFound, NotReachable, NotVmapi

STREAM = Response(200, {"content-type": "text/event-stream; charset=utf-8"})


def event_bytes(number: int) -> bytes:
    document: dict[str, Any] = {"id": str(number), "kind": "vm.deleted", "at": None}
    document |= {"vm_id": "ä", "vm": None, "operation": None}
    return f"event: vm.deleted\ndata: {json.dumps(document)}\nid: {number}\n\n".encode()


@pytest.fixture
def stream(runner: PlanRunner) -> EventStream:
    return EventStream(runner.session, EventFilter(("vm.deleted",), ("v1", "v2")), None, None)


def next_attempt(stream: EventStream) -> Attempt:
    attempt = stream.next_attempt()
    assert attempt is not None
    return attempt


def fail_for_ever(runner: PlanRunner, stream: EventStream) -> None:
    while True:
        attempt = next_attempt(stream)
        runner.now += attempt.delay
        stream.begin(attempt, LOST)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_events_are_parsed_from_chunks_of_any_size(size: int) -> None:
    parser = ServerSentEvents(None)
    sent = b": comment\nid: 4\n\n" + event_bytes(5) + event_bytes(6).replace(b"\n", b"\r\n")
    chunks = [sent[start : start + size] for start in range(0, len(sent), size)]
    data = [json.loads(text) for chunk in chunks for text in parser.feed(chunk)]
    assert [(item["id"], item["vm_id"]) for item in data] == [("5", "ä"), ("6", "ä")]
    assert parser.last_id == "6"


def test_stream_continues_after_the_last_complete_event(stream: EventStream) -> None:
    first = next_attempt(stream)
    assert first.request.query == (("kind", "vm.deleted"), ("vm_id", "v1"), ("vm_id", "v2"))
    assert "Last-Event-ID" not in first.request.headers
    assert stream.begin(first, STREAM)
    assert [event.id for event in stream.feed(event_bytes(5) + event_bytes(6)[:-1])] == ["5"]
    stream.interrupt("reset")
    second = next_attempt(stream)
    assert second.request.headers["Last-Event-ID"] == "5"
    assert second.delay > 0
    assert stream.begin(second, STREAM)
    assert [event.id for event in stream.feed(event_bytes(6))] == ["6"]


def test_heartbeat_moves_the_position(stream: EventStream) -> None:
    assert stream.begin(next_attempt(stream), STREAM)
    assert list(stream.feed(b": heartbeat\nid: 9\n\n")) == []
    stream.interrupt("reset")
    assert next_attempt(stream).request.headers["Last-Event-ID"] == "9"


@pytest.mark.parametrize(
    "reply",
    [LOST, respond_with_problem(429, "rate_limited", retry_after="3"), Response(502, {})],
)
def test_temporary_refusal_leads_to_another_attempt(stream: EventStream, reply: Any) -> None:
    attempt = next_attempt(stream)
    assert not stream.begin(attempt, reply)
    delay = next_attempt(stream).delay
    assert delay == 3 if reply is not LOST and reply.status == 429 else delay > 0


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (respond_with_problem(403, "forbidden"), Forbidden),
        (Failure("unknown", "host"), HostNotFound),
        (Response(200, {"content-type": "text/html"}), NotVmapi),
        (Response(200, {"content-type": "application/json"}, b"{}"), NotVmapi),
    ],
)
def test_final_refusal_ends_the_stream(
    stream: EventStream, reply: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        stream.begin(next_attempt(stream), reply)


def test_stream_without_a_connection_ends_at_the_deadline(
    runner: PlanRunner, stream: EventStream
) -> None:
    begin = runner.now
    with pytest.raises(NotReachable, match="no stream within 600 s: connection reset"):
        fail_for_ever(runner, stream)
    assert 590 < runner.now - begin <= 600


def test_each_byte_extends_the_deadline(runner: PlanRunner, stream: EventStream) -> None:
    for _ in range(3):
        runner.now += 500
        assert stream.begin(next_attempt(stream), STREAM)
        assert list(stream.feed(b": heartbeat\n\n")) == []
        stream.interrupt("reset")


def test_stream_ends_after_its_seconds(runner: PlanRunner) -> None:
    stream = EventStream(runner.session, EventFilter(), "7", seconds=10)
    first = next_attempt(stream)
    assert (first.request.query, first.request.headers["Last-Event-ID"]) == ((("wait", "10"),), "7")
    assert stream.begin(first, STREAM)
    runner.now += 4
    stream.interrupt("reset")
    assert next_attempt(stream).request.query[0][1] in ("5", "6")
    runner.now += 6
    assert stream.next_attempt() is None


def test_malformed_data_ends_the_stream(stream: EventStream) -> None:
    assert stream.begin(next_attempt(stream), STREAM)
    with pytest.raises(NotVmapi, match="malformed data"):
        list(stream.feed(b"data: {\n\n"))
