"""Race tests of the event log: concurrent writers, and readers that skip nothing."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from sqlalchemy import Connection

from tests.support.factories import VM_1
from tests.support.operation_factory import run_concurrently
from vmapi.domain.event import Event
from vmapi.domain.observation import Observation
from vmapi.store import events
from vmapi.store.database import Database
from vmapi.store.events import EventLog
from vmapi.store.inventory import observations

WRITERS = 3
UPDATES_PER_WRITER = 40


def write(database: Database, late: Database, writer: int) -> None:
    """Change VMs in transactions of which every other one commits after a younger one."""
    for turn in range(0, UPDATES_PER_WRITER, 2):
        with database.write() as connection:
            change(connection, writer, "a", turn)
            if late is not database:
                with late.write() as younger:
                    change(younger, writer, "b", turn)
                # time for a reader to pass
                for _ in range(3):
                    EventLog(late).assign_sequences()
        if late is database:
            with database.write() as younger:
                change(younger, writer, "b", turn)


def change(connection: Connection, writer: int, name: str, turn: int) -> None:
    vm = replace(VM_1, id=f"{writer}{name}", name=f"{turn}")
    observations.apply(connection, Observation(2**62 + turn, [vm]))


def read(log: EventLog, over: Callable[[], bool]) -> list[Event]:
    """Read in rounds, as a client that disconnects after three events."""
    received: list[Event] = []
    while True:
        last = over()
        log.assign_sequences()
        batch = log.read_after(received[-1].sequence if received else 0)[:3]
        if last and not batch:
            return received
        received += batch


def test_concurrent_readers_skip_no_event(
    connect: Callable[[], Database], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "EVENT_BATCH", 7)
    several = not url.startswith("sqlite")
    writing = [connect() for _ in range(WRITERS)]
    lates = [connect() for _ in writing] if several else writing
    logs = [EventLog(connect()) for _ in range(2)]
    seen: list[list[Event]] = [[], []]
    written: list[int] = []

    def work(number: int) -> bool:
        if number < WRITERS:
            write(writing[number], lates[number], number)
            written.append(number)
        else:
            seen[number - WRITERS] = read(logs[number - WRITERS], lambda: len(written) == WRITERS)
        return True

    assert run_concurrently(WRITERS + 2, work) == WRITERS + 2
    for received in seen:
        assert len(received) == WRITERS * UPDATES_PER_WRITER
        assert all(earlier.sequence < later.sequence for earlier, later in pairwise(received))
        for vm_id in {event.vm_id for event in received}:
            names = [event.vm.name for event in received if event.vm_id == vm_id and event.vm]
            assert names == [f"{turn}" for turn in range(0, UPDATES_PER_WRITER, 2)]
    assert [event.sequence for event in seen[0]] == [event.sequence for event in seen[1]]
