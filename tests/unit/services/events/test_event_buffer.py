"""The event buffer: it reads on after errors, and holds the newest events only."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from tests.support.http_client import wait_until
from tests.support.no_free_thread import refusing_threads
from vmapi.domain.event import Event, EventKind, EventQuery
from vmapi.errors import StoreUnavailable
from vmapi.services.events import buffer as buffer_module
from vmapi.services.events.batch import MAX_SHARED_TEXT_BYTES, MAX_SHARED_TEXTS, EventBatch
from vmapi.services.events.buffer import EventBuffer

TIMEOUT = 30.0
EVERYTHING = EventQuery(project=None)
AT = datetime(2026, 2, 25, tzinfo=UTC)


def event(sequence: int) -> Event:
    return Event(sequence, EventKind.VM_CHANGED, AT, "default", "vm")


class FakeEventLog:
    """An event log with the events up to `newest`. Each failure is raised once."""

    def __init__(self) -> None:
        self.newest = 0
        self.failures: list[Exception] = []

    def assign_sequences(self) -> int:
        if self.failures:
            raise self.failures.pop()
        return self.newest

    def read_after(self, sequence: int) -> list[Event]:
        return [event(number) for number in range(sequence + 1, self.newest + 1)]


def build(event_log: FakeEventLog, size: int = 1000) -> EventBuffer:
    return EventBuffer(
        lambda: event_log,
        size=size,
        poll_interval=0.001,
        backoff=0.001,
    )


@pytest.fixture
def event_log() -> FakeEventLog:
    return FakeEventLog()


@pytest.fixture
def size() -> int:
    """The size of the buffer; a test overrides it by a parameter."""
    return 1000


@pytest.fixture
def buffer(event_log: FakeEventLog, size: int) -> Iterator[EventBuffer]:
    """A buffer with one subscriber."""
    buffer = build(event_log, size)
    buffer.subscribe()
    yield buffer
    buffer.unsubscribe()


def sequences(buffer: EventBuffer, after: int, query: EventQuery = EVERYTHING) -> list[int]:
    buffer.wait_for_newer(after, TIMEOUT)
    batch = buffer.read(after, query)
    assert batch is not None
    return [event.sequence for event in batch.events]


def test_reader_continues_after_errors(buffer: EventBuffer, event_log: FakeEventLog) -> None:
    with capture_logs() as logs:
        event_log.failures = [StoreUnavailable("no response"), KeyError("defect")]
        event_log.newest = 2
        assert sequences(buffer, 0) == [1, 2]
    assert [(line["log_level"], line["event"], line.get("reason")) for line in logs] == [
        ("error", "event reader failed", None),
        ("debug", "event reader paused", "no response"),
    ]


@pytest.mark.parametrize("size", [3])
def test_buffer_evicts_the_oldest_events(buffer: EventBuffer, event_log: FakeEventLog) -> None:
    event_log.newest = 5
    assert sequences(buffer, 4) == [5]
    assert [buffer.newest_if_behind(sequence) for sequence in (1, 2)] == [5, None]
    assert buffer.read(1, EVERYTHING) is None
    assert sequences(buffer, 2) == [3, 4, 5]


def test_read_waits_for_a_newer_event(buffer: EventBuffer, event_log: FakeEventLog) -> None:
    buffer.wait_for_newer(0, 0.01)
    assert buffer.read(0, EVERYTHING) == EventBatch((), 0)
    event_log.newest = 3
    assert sequences(buffer, 2) == [3]


def test_buffer_starts_empty_after_the_last_subscriber_has_left(event_log: FakeEventLog) -> None:
    buffer = build(event_log)
    for newest in (3, 7):
        event_log.newest = newest
        assert buffer.subscribe() == newest
        assert buffer.newest_if_behind(newest - 1) == newest
        assert buffer.read(newest, EVERYTHING) == EventBatch((), newest)
        buffer.unsubscribe()


def test_streams_with_equal_filters_share_a_batch(
    buffer: EventBuffer, event_log: FakeEventLog
) -> None:
    event_log.newest = 3
    queries = [EventQuery("default", frozenset({"vm"})) for _ in range(2)]
    queries += [EventQuery("other"), EVERYTHING]
    for query, expected in zip(queries, [[2, 3], [2, 3], [], [2, 3]], strict=True):
        assert sequences(buffer, 1, query) == expected
    batches = [buffer.read(1, query) for query in queries]
    assert batches[0] is batches[1]
    assert len({id(batch) for batch in batches}) == 3
    # nothing matches, but the stream has read on
    assert batches[2] == EventBatch([], 3)


def test_batch_is_rendered_once() -> None:
    batch = EventBatch([event(1), event(2)], 2)
    rendered: list[int] = []

    def render(events: Sequence[Event]) -> bytes:
        rendered.extend(event.sequence for event in events)
        return b"text"

    assert [batch.render("json", render), batch.render("json", render)] == [b"text", b"text"]
    assert rendered == [1, 2]
    assert (batch.find_text("json"), batch.find_text("other")) == (b"text", None)


def test_batch_shares_the_texts_of_a_few_formats() -> None:
    batch = EventBatch([event(1)], 1)
    for number in range(2 * MAX_SHARED_TEXTS):
        text = b"%d" % number
        assert batch.render(number, lambda _, text=text: text) == text
    shared = [batch.find_text(number) for number in range(2 * MAX_SHARED_TEXTS)]
    assert shared[:MAX_SHARED_TEXTS] == [b"%d" % number for number in range(MAX_SHARED_TEXTS)]
    assert set(shared[MAX_SHARED_TEXTS:]) == {None}


def test_batch_is_limited(
    monkeypatch: pytest.MonkeyPatch, buffer: EventBuffer, event_log: FakeEventLog
) -> None:
    monkeypatch.setattr(buffer_module, "STREAM_BATCH", 2)
    event_log.newest = 5
    position, received = 0, []
    while events := sequences(buffer, position) if position < 5 else []:
        assert len(events) <= 2
        received += events
        position = events[-1]
    assert received == [1, 2, 3, 4, 5]


def test_listener_is_called_for_new_events_only(event_log: FakeEventLog) -> None:
    buffer = build(event_log)
    calls: list[int] = []
    for newest in (1, 2):
        buffer.subscribe()
        buffer.add_listener(lambda: calls.append(event_log.newest))
        event_log.newest = newest
        wait_until("the notification", lambda newest=newest: calls == list(range(1, newest + 1)))
        # the last subscriber takes its listeners along
        buffer.unsubscribe()


def test_texts_of_all_batches_have_a_limit_in_bytes(
    buffer: EventBuffer, event_log: FakeEventLog
) -> None:
    event_log.newest = 3
    text = bytes(MAX_SHARED_TEXT_BYTES // 2)

    def read_and_render() -> list[bool]:
        batches = [buffer.read(sequence, EVERYTHING) for sequence in (0, 1, 2)]
        for batch in batches:
            assert batch is not None
            assert batch.render("json", lambda _: text) is text
        return [batch is not None and batch.find_text("json") is text for batch in batches]

    assert sequences(buffer, 0) == [1, 2, 3]
    assert read_and_render() == [True, True, False]
    # new events make room
    event_log.newest = 4
    assert sequences(buffer, 3) == [4]
    assert read_and_render() == [True, True, False]


def test_subscriber_without_a_free_thread_leaves_no_buffer_without_a_reader(
    event_log: FakeEventLog,
) -> None:
    buffer = build(event_log)
    with refusing_threads(), pytest.raises(RuntimeError):
        buffer.subscribe()
    buffer.subscribe()
    event_log.newest = 1
    assert sequences(buffer, 0) == [1]
    buffer.unsubscribe()
