"""Event streams of the Python client: parsing, filters, and resumption."""

import json
from collections import deque
from dataclasses import replace
from typing import Any

import pytest

from tests.support.client_plans import (
    LOST,
    PlanRunner,
    respond_with_problem,
)
from vmapi_client.core.calls.session import CallSession
from vmapi_client.core.deadline import Deadline
from vmapi_client.core.event_stream import (
    EventFilter,
    EventStream,
    PositionSearch,
    ServerSentEvents,
)
from vmapi_client.core.exchange import Attempt, Failure, Response
from vmapi_client.errors import (
    DeadlineExceeded,
    Forbidden,
    HostNotFound,
    NotReachable,
    NotVmapi,
    RateLimited,
    ResponseTooLarge,
)

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
    parser = ServerSentEvents(None, 1000)
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


@pytest.mark.parametrize("seconds", [None, 100])
def test_time_before_the_first_attempt_counts_for_nothing(
    runner: PlanRunner, seconds: float | None
) -> None:
    stream = EventStream(runner.session, EventFilter(), None, seconds)
    runner.now += 5000
    attempt = next_attempt(stream)
    assert stream.opening_seconds == 60
    assert not stream.begin(attempt, LOST)
    assert stream.begin(next_attempt(stream), STREAM)


def test_stream_that_is_cut_while_its_caller_works_is_opened_again(
    runner: PlanRunner, stream: EventStream
) -> None:
    assert stream.begin(next_attempt(stream), STREAM)
    assert [event.id for event in stream.feed(event_bytes(5))] == ["5"]
    runner.now += 5000
    stream.interrupt("reset")
    assert next_attempt(stream).request.headers["Last-Event-ID"] == "5"
    begin = runner.now
    with pytest.raises(NotReachable, match="no stream within 600 s: connection reset"):
        fail_for_ever(runner, stream)
    assert 590 < runner.now - begin <= 600


def test_server_that_cuts_each_stream_at_once_ends_it_at_the_deadline(
    runner: PlanRunner, stream: EventStream
) -> None:
    def cut_for_ever() -> None:
        while True:
            attempt = next_attempt(stream)
            runner.now += attempt.delay
            assert stream.begin(attempt, STREAM)
            stream.interrupt("reset")

    with pytest.raises(NotReachable, match="no stream within 600 s: reset"):
        cut_for_ever()


def test_refusal_until_the_deadline_is_the_error_of_the_stream(
    runner: PlanRunner, stream: EventStream
) -> None:
    refused = respond_with_problem(429, "rate_limited", retry_after="700")
    with pytest.raises(RateLimited) as caught:
        stream.begin(next_attempt(stream), refused)
    assert caught.value.retry_after == 700


def test_long_stream_is_read_in_parts(runner: PlanRunner) -> None:
    stream = EventStream(runner.session, EventFilter(), None, 10 * 86_400)
    assert next_attempt(stream).request.query == (("wait", "86400"),)
    for seconds in (0, -1, float("nan"), 1e12):
        with pytest.raises(ValueError, match=r"^seconds is .*: it is above 0 and up to 3144960000"):
            EventStream(runner.session, EventFilter(), None, seconds)


@pytest.mark.parametrize("chosen", [EventFilter(kinds=()), EventFilter(vm_ids=())])
def test_empty_filter_is_refused_before_the_first_event(
    runner: PlanRunner, chosen: EventFilter
) -> None:
    with pytest.raises(ValueError, match="is empty: use None for all"):
        EventStream(runner.session, chosen, None, None)


@pytest.mark.parametrize(
    "sent", [b"x" * 65, b"data: " + b"x" * 65, b"data: " + b"x" * 40 + b"\ndata: 12345678901234567"]
)
@pytest.mark.parametrize("size", [1, 1000])
def test_event_beyond_the_limit_ends_the_stream(sent: bytes, size: int) -> None:
    parser = ServerSentEvents(None, 64)
    for _ in range(10):
        assert list(parser.feed(b"data: " + b"x" * 58 + b"\n\n: heartbeat\n\n")) == ["x" * 58]
    with pytest.raises(ResponseTooLarge, match="GET /events: an event has more than 64 bytes"):
        deque(data for start in range(0, 100, size) for data in parser.feed(sent[start:][:size]))


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


def test_stream_without_a_connection_in_its_seconds_is_not_reachable(runner: PlanRunner) -> None:
    stream = EventStream(runner.session, EventFilter(), None, seconds=3)
    with pytest.raises(NotReachable, match="no stream within 3 s: connection reset"):
        fail_for_ever(runner, stream)
    assert runner.now <= 1003


def test_interruption_at_the_end_of_the_seconds_ends_the_stream(runner: PlanRunner) -> None:
    runner.session = CallSession(runner.session.server, 3, lambda: runner.now)
    stream = EventStream(runner.session, EventFilter(), None, seconds=3)
    assert stream.begin(next_attempt(stream), STREAM)
    assert not stream.is_over
    runner.now += 3
    assert stream.is_over
    stream.interrupt("timed out")
    assert stream.next_attempt() is None


def test_malformed_data_ends_the_stream(stream: EventStream) -> None:
    assert stream.begin(next_attempt(stream), STREAM)
    for data in (b"{", b"[" * 100_000, b"5"):
        with pytest.raises(NotVmapi, match="malformed data"):
            list(stream.feed(b"data: " + data + b"\n\n"))


def test_search_gets_a_stream_that_ends_soon(runner: PlanRunner) -> None:
    search = PositionSearch(runner.session, 5)
    attempt = next_attempt(search)
    assert attempt.request.query == (("wait", "1"),)
    search.begin(attempt, STREAM)
    assert list(search.feed(b"retry: 3000\n\n")) == []
    assert (search.position, search.is_over) == (None, False)
    search.feed(b": heartbeat\nid: 0\n\n")
    assert (search.position, search.is_over) == ("0", True)


def test_stream_without_an_end_waits_for_a_heartbeat(stream: EventStream) -> None:
    assert stream.reading_seconds == stream.opening_seconds == 60


def test_deadline_of_all_calls_ends_a_stream(runner: PlanRunner) -> None:
    clock = runner.session.clock
    session = replace(runner.session, timeout=Deadline(20, clock))
    stream = EventStream(session, EventFilter(), None, None)
    stream.begin(next_attempt(stream), STREAM)
    assert stream.reading_seconds == 20
    runner.now += 15
    assert list(stream.feed(b": heartbeat\n\n")) == []
    assert stream.reading_seconds == 5
    runner.now += 5
    with pytest.raises(DeadlineExceeded):
        list(stream.feed(b": heartbeat\n\n"))


@pytest.mark.parametrize("since", ["", "a\nb", "ü"])
def test_position_that_no_header_holds_is_refused(runner: PlanRunner, since: str) -> None:
    with pytest.raises(ValueError, match=r"^since is .*printable ASCII"):
        EventStream(runner.session, EventFilter(), since, None)
