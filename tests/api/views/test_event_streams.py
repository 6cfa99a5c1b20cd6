"""Event streams: end, slots, and the shared reader thread."""

import threading
from typing import Any

import pytest

from tests.support.api_harness import ApiHarness
from tests.support.event_stream import LIFECYCLE_EVENTS, OpenStream, list_sequences, run_lifecycle
from tests.support.http_client import wait_until
from vmapi.errors import StoreUnavailable
from vmapi.services.events import feed
from vmapi.services.events.buffer import EventBuffer
from vmapi.settings.settings import Settings


def test_silent_stream_sends_heartbeats(harness: ApiHarness, open_stream: OpenStream) -> None:
    harness.services.events.heartbeat_interval = 0.01
    stream = open_stream("?kind=operation.failed")
    first = stream.read_heartbeat()
    run_lifecycle(harness)
    # the heartbeat also advances a client with a filter that matches nothing
    while (last := stream.read_heartbeat()) == first:
        pass
    assert last in list_sequences(harness)


def test_draining_ends_streams(harness: ApiHarness, open_stream: OpenStream) -> None:
    streams = [open_stream(), open_stream("", "0")]
    streams[0].read_heartbeat()
    streams[1].read_event()
    harness.services.draining.set()
    assert [list(stream.remaining_blocks()) for stream in streams] == [[], []]


@pytest.mark.parametrize("buffer_size", [1, 3])
def test_slow_client_misses_no_event(
    harness: ApiHarness, open_stream: OpenStream, buffer_size: int
) -> None:
    services = harness.services
    services.events.buffer = EventBuffer(lambda: services.store.events, size=buffer_size)
    slow, fast = open_stream(), open_stream()
    first = slow.read_heartbeat()
    fast.read_heartbeat()
    seen = []
    for name in ("web-1", "web-2", "web-3"):
        run_lifecycle(harness, name)
        seen += [event["id"] for event in fast.read_events(len(LIFECYCLE_EVENTS))]
    assert [event["id"] for event in slow.read_events(3 * len(LIFECYCLE_EVENTS))] == seen
    assert (seen, first) == (list_sequences(harness), "0")


def test_replay_in_several_batches_misses_no_event(
    harness: ApiHarness, open_stream: OpenStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "STREAM_BATCH", 3)
    run_lifecycle(harness, "web-1")
    run_lifecycle(harness, "web-2")
    first, *rest = list_sequences(harness)
    for query, count in (("", len(rest)), ("?kind=vm.deleted", 2)):
        stream = open_stream(query, first)
        stream.read_heartbeat()
        received = [event["id"] for event in stream.read_events(count)]
        assert received == [id for id in rest if id in received]
        assert len(set(received)) == count


def test_unavailable_store_ends_stream(
    harness: ApiHarness, open_stream: OpenStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_lifecycle(harness)

    def raise_unavailable(*_: object) -> Any:
        raise StoreUnavailable("away")

    monkeypatch.setattr(harness.services.store.events, "read_range", raise_unavailable)
    stream = open_stream("", list_sequences(harness)[0])
    stream.read_heartbeat()
    assert list(stream.remaining_blocks()) == []


def test_unavailable_store_refuses_stream(
    harness: ApiHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_unavailable() -> Any:
        raise StoreUnavailable("away")

    for name in ("assign_sequences", "contains"):
        with monkeypatch.context() as context:
            context.setattr(harness.services.store.events, name, lambda *_: raise_unavailable())
            for _ in range(9):
                response = harness.call("GET", "/events", headers={"Last-Event-ID": "1"})
                assert (response.status_code, response.json["code"]) == (503, "store_unavailable")
    wait_for_end_of_readers()


def count_reader_threads() -> int:
    return sum(thread.name == "event-reader" for thread in threading.enumerate())


def wait_for_end_of_readers() -> None:
    wait_until("the end of the event reader", lambda: count_reader_threads() == 0)


def test_one_reader_thread_serves_all_streams(harness: ApiHarness, open_stream: OpenStream) -> None:
    assert count_reader_threads() == 0
    streams = [open_stream() for _ in range(3)]
    assert count_reader_threads() == 1
    for stream in streams:
        stream.close()
    wait_for_end_of_readers()
    open_stream().read_heartbeat()
    assert count_reader_threads() == 1


def test_head_takes_no_stream_slot(harness: ApiHarness) -> None:
    for _ in range(20):
        assert harness.call("HEAD", "/events", buffered=True).status_code == 200
    wait_for_end_of_readers()


in_thread = pytest.mark.parametrize("open_stream", ["thread"], indirect=True)


class TestStreamSlots:
    @pytest.fixture
    def settings(self, request: pytest.FixtureRequest) -> Settings:
        kwargs = {"event_streams": 2, "caller_streams": 10, "threads": 8}
        return Settings(log_level="CRITICAL", **(kwargs | getattr(request, "param", {})))

    def check_refused(self, harness: ApiHarness) -> Any:
        response = harness.call("GET", "/events")
        assert (response.status_code, response.json["code"]) == (429, "rate_limited")
        assert response.headers["Retry-After"] == "5"
        return response.json["detail"]

    @pytest.mark.parametrize(
        ("settings", "detail"),
        [
            ({}, "All slots are in use: at most 2 event streams are open here."),
            (
                {"event_streams": 50, "threads": 4},
                "All slots are in use: at most 2 event streams are open here.",
            ),
            (
                {"event_streams": 50, "caller_streams": 2},
                "You have 2 open event streams, the maximum.",
            ),
        ],
        indirect=["settings"],
    )
    @in_thread
    def test_number_of_streams_is_limited(
        self, harness: ApiHarness, open_stream: OpenStream, detail: str
    ) -> None:
        streams = [open_stream(), open_stream()]
        assert [self.check_refused(harness) for _ in range(20)] == [detail] * 20
        streams[0].close()
        open_stream()
        assert self.check_refused(harness) == detail

    @pytest.mark.parametrize("settings", [{"event_streams": 50, "threads": 4}], indirect=True)
    @in_thread
    def test_waiting_requests_take_stream_slots(
        self, harness: ApiHarness, open_stream: OpenStream
    ) -> None:
        slots = harness.services.waiter.slots
        assert slots.acquire(blocking=False)
        open_stream()
        assert not slots.acquire(blocking=False)
        self.check_refused(harness)
        slots.release()
        open_stream()

    @pytest.mark.parametrize("settings", [{"caller_streams": 1}], indirect=True)
    @pytest.mark.parametrize("wait", ["1", "1&limit=9"])
    def test_stream_with_wait_ends_without_an_event_and_frees_its_slot(
        self, open_stream: OpenStream, wait: str
    ) -> None:
        for _ in range(2):
            stream = open_stream(f"?kind=operation.failed&wait={wait}")
            stream.read_heartbeat()
            assert list(stream.remaining_blocks()) == []
            stream.close()


@pytest.mark.parametrize("limit", [1, 3])
def test_stream_with_limit_ends_after_its_events(
    harness: ApiHarness, open_stream: OpenStream, limit: int
) -> None:
    stream = open_stream(f"?limit={limit}")
    stream.read_heartbeat()
    run_lifecycle(harness)
    assert stream.read_kinds(limit) == LIFECYCLE_EVENTS[:limit]
    assert list(stream.remaining_blocks()) == []
    # the next one continues
    after = list_sequences(harness)[limit - 1]
    rest = open_stream(f"?limit={len(LIFECYCLE_EVENTS) - limit}", after)
    rest.read_heartbeat()
    assert rest.read_kinds(len(LIFECYCLE_EVENTS) - limit) == LIFECYCLE_EVENTS[limit:]
    assert list(rest.remaining_blocks()) == []


@pytest.mark.parametrize("query", ["wait=0", "wait=-1", "wait=86401", "wait=1.5", "limit=0"])
def test_end_of_a_stream_has_bounds(harness: ApiHarness, query: str) -> None:
    response = harness.call("GET", f"/events?{query}")
    assert response.status_code == 422
    assert response.json is not None
    assert response.json["errors"][0]["pointer"] == f"/{query.partition('=')[0]}"
