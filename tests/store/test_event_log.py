"""Event log tests: each change has one event, in the order of visibility."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from tests.support.factories import T0, VM_1
from tests.support.operation_factory import OperationFactory
from vmapi.domain.event import Event, EventQuery
from vmapi.domain.lifecycle import Action, Status, Task
from vmapi.domain.operation import OperationError, OperationStatus, StepState
from vmapi.domain.vm import Address
from vmapi.errors import InternalError
from vmapi.store import events
from vmapi.store.database import Database
from vmapi.store.events import EventLog
from vmapi.store.inventory.repository import InventoryRepository
from vmapi.store.operations.repository import OperationRepository

VM_ID = "vm"
RUNNING = replace(
    VM_1,
    id=VM_ID,
    metadata={"é\n": "\U0001f600"},
    addresses=(Address("private", "198.18.0.2", 4, "fixed"),),
    security_groups=("default", "web"),
)
STOPPED = replace(RUNNING, status=Status.STOPPED, backend_status="SHUTOFF")
DELETED = replace(RUNNING, status=Status.DELETED, updated_at=T0)


@pytest.fixture
def log(database: Database) -> EventLog:
    return EventLog(database)


@pytest.fixture
def inventory(database: Database) -> InventoryRepository:
    return InventoryRepository(database)


def read_events(log: EventLog, after: int = 0) -> list[Event]:
    log.assign_sequences()
    return list(log.read_after(after))


def kinds(log: EventLog) -> list[str]:
    return [str(event.kind) for event in read_events(log)]


def vm_changes(log: EventLog) -> list[tuple[str, str | None, str | None]]:
    """Return the kind, status and task of each VM event."""
    return [
        (event.kind.partition(".")[2], event.vm.status, event.vm.task)
        for event in read_events(log)
        if event.vm is not None
    ]


def test_events_follow_the_observed_vm(log: EventLog, inventory: InventoryRepository) -> None:
    for vm in (RUNNING, RUNNING, STOPPED, STOPPED, DELETED, replace(DELETED, name="late")):
        inventory.save_observations([vm], inventory.observation_time())
    all_events = read_events(log)
    assert [(event.kind, event.vm, event.operation) for event in all_events] == [
        ("vm.created", RUNNING, None),
        ("vm.changed", STOPPED, None),
        ("vm.deleted", DELETED, None),
    ]
    assert {(event.vm_id, event.project) for event in all_events} == {(VM_ID, "default")}


def test_event_holds_the_vm_of_the_inventory(
    log: EventLog,
    inventory: InventoryRepository,
    store: OperationRepository,
    make: OperationFactory,
) -> None:
    inventory.save_observations([STOPPED], inventory.observation_time())
    store.add(make("1", Action.START, VM_ID))
    inventory.save_observations([RUNNING], inventory.observation_time())
    store.save(make.finished(store.get("1")))
    snapshot = inventory.get(VM_ID)
    assert snapshot is not None
    assert (read_events(log)[-2].vm, snapshot.revision) == (snapshot.vm, 4)
    assert kinds(log) == ["vm.created", *["vm.changed"] * 3, "operation.succeeded"]
    assert vm_changes(log)[1:] == [
        ("changed", Status.STOPPED, Task.STARTING),
        ("changed", Status.RUNNING, Task.STARTING),
        ("changed", Status.RUNNING, None),
    ]


def test_event_holds_the_finished_operation(
    log: EventLog, store: OperationRepository, make: OperationFactory
) -> None:
    failure = OperationError("no_capacity", "No host.", {"hint": "later"})
    store.add(make("1", Action.CREATE, None, "web", request_id="r-1", requested_by="me"))
    finished = make.finished(store.get("1"), status=OperationStatus.FAILED, error=failure)
    store.save(replace(finished, started_at=finished.created_at))
    (event,) = read_events(log)
    assert (event.kind, event.vm_id, event.vm) == ("operation.failed", None, None)
    row_values = replace(store.get("1"), steps=(), reserved_name=None, revision=0)
    assert event.operation == row_values


def test_delete_emits_no_event_without_a_visible_change(
    log: EventLog,
    inventory: InventoryRepository,
    store: OperationRepository,
    make: OperationFactory,
) -> None:
    inventory.save_observations([RUNNING], inventory.observation_time())
    store.add(make("1", Action.STOP, VM_ID))
    store.add(make("2", Action.DELETE, VM_ID))
    inventory.mark_deleted(VM_ID, T0, inventory.observation_time())
    store.save(make.finished(store.get("2")))
    assert [(event.kind, event.operation and event.operation.id) for event in read_events(log)] == [
        ("vm.created", None),
        ("vm.changed", None),
        ("operation.superseded", "1"),
        ("vm.changed", None),
        ("vm.deleted", None),
        ("operation.succeeded", "2"),
    ]
    assert [task for _, _, task in vm_changes(log)] == [None, Task.STOPPING, Task.DELETING, None]


def test_superseded_create_emits_its_event(
    log: EventLog,
    inventory: InventoryRepository,
    store: OperationRepository,
    make: OperationFactory,
) -> None:
    store.add(make("1", Action.CREATE, None, "web-1"))
    operation = store.get("1")
    assert operation.step is not None
    step = replace(operation.step, state=StepState.ACCEPTED, request_id="r")
    new = replace(RUNNING, status=Status.BUILDING, task=Task.CREATING)
    store.save(replace(operation.with_step(step), vm_id=VM_ID), expected_vm=new)
    inventory.save_observations([RUNNING], inventory.observation_time())
    store.add(make("2", Action.DELETE, VM_ID))
    assert vm_changes(log) == [
        ("created", Status.BUILDING, Task.CREATING),
        ("changed", Status.RUNNING, Task.DELETING),
    ]


def test_discarded_operation_emits_no_event(
    log: EventLog,
    inventory: InventoryRepository,
    store: OperationRepository,
    make: OperationFactory,
) -> None:
    inventory.save_observations([RUNNING], inventory.observation_time())
    rename = make("1", Action.UPDATE, VM_ID, "web-2")
    store.add(rename)
    store.discard(rename, InternalError(""))
    assert [task for _, _, task in vm_changes(log)] == [None, Task.UPDATING, None]
    assert len(read_events(log)) == 3


def test_rolled_back_event_is_never_read(log: EventLog, database: Database) -> None:
    with pytest.raises(KeyError):
        write(database, "1", then=KeyError)
    assert read_events(log) == []
    assert log.assign_sequences() == 0


def test_restored_vm_emits_a_created_event(log: EventLog, inventory: InventoryRepository) -> None:
    for vm in (RUNNING, DELETED, RUNNING):
        inventory.save_observations([vm], inventory.observation_time())
    assert kinds(log) == ["vm.created", "vm.deleted", "vm.created"]


def test_sequences_grow_while_the_clock_goes_back(log: EventLog, database: Database) -> None:
    write(database, "1")
    first = log.assign_sequences()
    ahead = first + 10**12
    with database.write() as connection:
        connection.execute(text("UPDATE events SET sequence = :ahead"), {"ahead": ahead})
    write(database, "2", "3")
    assert log.assign_sequences() == ahead + 2
    assert [(event.sequence, event.vm_id) for event in read_events(log)] == [
        (ahead, "1"),
        (ahead + 1, "2"),
        (ahead + 2, "3"),
    ]


def test_new_database_does_not_repeat_sequences(log: EventLog, database: Database) -> None:
    write(database, "1")
    first = log.assign_sequences()
    with database.write() as connection:
        connection.execute(text("DELETE FROM events"))
    write(database, "2")
    assert log.assign_sequences() > first
    assert not log.contains(first)


def test_many_events_are_numbered_and_read_in_batches(
    log: EventLog, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "EVENT_BATCH", 3)
    monkeypatch.setattr(events, "SEQUENCE_BATCH", 4)
    ids = [f"{number}" for number in range(10)]
    write(database, *ids)
    newest, read_ids, number = log.assign_sequences(), [], 0
    while batch := log.read_after(number):
        assert len(batch) <= 3
        read_ids += [event.vm_id for event in batch]
        number = batch[-1].sequence
    assert (read_ids, number) == (ids, newest)
    query = EventQuery("default", vm_ids=frozenset({"2", "9", "7"}))
    for limit, vm_ids in ((9, ["2", "7"]), (1, ["2"])):
        between = log.read_range(0, newest - 1, query, limit)
        assert [event.vm_id for event in between] == vm_ids
    assert log.read_range(0, newest, EventQuery(project="other"), 9) == []


def test_purge_removes_the_oldest_events(log: EventLog, database: Database) -> None:
    write(database, "1", "2", "3")
    newest = log.assign_sequences()
    with database.write() as connection:
        move = text("UPDATE events SET sequence = sequence - 7200000000 WHERE sequence < :newest")
        connection.execute(move, {"newest": newest})
    assert log.purge(timedelta(hours=3)) == 0
    assert log.purge(timedelta(hours=1)) == 2
    assert [event.vm_id for event in read_events(log)] == ["3"]
    with database.write() as connection:
        connection.execute(text("UPDATE events SET sequence = 1"))
    # a reader of the newest event has missed nothing
    assert log.purge(timedelta(hours=1)) == 0
    assert log.contains(1)


def row(vm_id: str) -> dict[str, object]:
    operation = {"id": "o", "action": "stop", "status": "failed", "error": None}
    operation |= {"requested_by": "me", "request_id": "r", "created_at": 1}
    document = {**operation, "started_at": None, "finished_at": None}
    row_values = {"kind": "operation.failed", "project": "default", "payload": document}
    return {**row_values, "vm_id": vm_id}


def write(database: Database, *vm_ids: str, then: type[Exception] | None = None) -> None:
    with database.write() as connection:
        events.append(connection, *map(row, vm_ids))
        if then is not None:
            raise then


def test_late_commit_is_not_skipped(
    connect: Callable[[], Database], log: EventLog, url: str
) -> None:
    if url.startswith("sqlite"):
        pytest.skip("SQLite has one writer at a time")
    with connect().write() as late:
        events.append(late, row("late"))
        write(connect(), "early")
        first = read_events(log)
        assert [event.vm_id for event in first] == ["early"]
    assert [event.vm_id for event in read_events(log, first[-1].sequence)] == ["late"]
