"""The event buffer: it reads on after errors, and holds the newest events only."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from structlog.testing import capture_logs

from vmapi.domain.event import Event, EventKind
from vmapi.errors import StoreUnavailable
from vmapi.services.events.buffer import EventBuffer

TIMEOUT = 30.0
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
        lambda: event_log,  # type: ignore[arg-type,return-value]
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


def sequences(buffer: EventBuffer, after: int) -> list[int]:
    return [event.sequence for event in buffer.read_after(after, TIMEOUT)]


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
    assert sequences(buffer, 1) == []
    assert sequences(buffer, 2) == [3, 4, 5]


def test_read_waits_for_a_newer_event(buffer: EventBuffer, event_log: FakeEventLog) -> None:
    assert buffer.read_after(0, 0.01) == []
    event_log.newest = 3
    assert sequences(buffer, 2) == [3]


def test_buffer_starts_empty_after_the_last_subscriber_has_left(event_log: FakeEventLog) -> None:
    buffer = build(event_log)
    for newest in (3, 7):
        event_log.newest = newest
        assert buffer.subscribe() == newest
        assert buffer.newest_if_behind(newest - 1) == newest
        assert buffer.read_after(newest, 0.01) == []
        buffer.unsubscribe()
