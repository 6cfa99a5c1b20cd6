"""The newest events are read on, whatever becomes of a look."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from vmapi.domain.event import Event, EventKind
from vmapi.errors import StoreUnavailable
from vmapi.services.events import buffer as tail
from vmapi.services.events.buffer import EventBuffer

LONG = 30.0
AT = datetime(2026, 2, 25, tzinfo=UTC)


def event(number: int) -> Event:
    return Event(number, EventKind.VM_CHANGED, AT, "default", "vm")


class Log:
    """Holds the numbers up to `newest`; fails as often as it is told to."""

    def __init__(self) -> None:
        self.newest = 0
        self.failures: list[Exception] = []

    def number(self) -> int:
        if self.failures:
            raise self.failures.pop()
        return self.newest

    def after(self, number: int) -> list[Event]:
        return [event(each) for each in range(number + 1, self.newest + 1)]


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def joined(log: Log, monkeypatch: pytest.MonkeyPatch) -> Iterator[EventBuffer]:
    """A tail that somebody listens to, and that is never tired."""
    for name in ("POLL", "PAUSE"):
        monkeypatch.setattr(tail, name, 0.001)
    made: Any = EventBuffer(lambda: log)  # type: ignore[arg-type,return-value]
    made.join()
    yield made
    made.leave()


def numbers(joined: EventBuffer, after: int) -> list[int]:
    return [each.sequence for each in joined.read_after(after, LONG)]


def test_it_goes_on_after_a_look_that_failed(joined: EventBuffer, log: Log) -> None:
    with capture_logs() as lines:
        log.failures = [StoreUnavailable("away"), KeyError("odd")]
        log.newest = 2
        assert numbers(joined, 0) == [1, 2]
    told = [(line["log_level"], line["event"], line.get("reason")) for line in lines]
    assert told == [
        ("error", "events stumbled", None),
        ("warning", "events have to wait", "away"),
    ]


def test_it_keeps_the_newest(
    joined: EventBuffer, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "EVENT_BUFFER_SIZE", 3)
    log.newest = 5
    assert numbers(joined, 4) == [5]
    assert [joined.newest_if_behind(number) for number in (1, 2)] == [5, None]
    assert numbers(joined, 1) == []
    assert numbers(joined, 2) == [3, 4, 5]


def test_who_is_ahead_of_it_waits(joined: EventBuffer, log: Log) -> None:
    assert joined.read_after(0, 0.01) == []
    log.newest = 3
    assert numbers(joined, 2) == [3]


def test_it_begins_anew_after_nobody_was_there(log: Log) -> None:
    one: Any = EventBuffer(lambda: log)  # type: ignore[arg-type,return-value]
    for newest in (3, 7):
        log.newest = newest
        assert one.join() == newest
        assert one.behind(newest - 1) == newest
        assert one.after(newest, 0.01) == []
        one.leave()
