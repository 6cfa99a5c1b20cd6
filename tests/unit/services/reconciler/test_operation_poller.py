"""One question to the cloud a round, however many operations wait for it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from structlog.testing import capture_logs

from tests.support.reconciler_harness import Desk
from vmapi import errors
from vmapi.domain.lifecycle import Action, Status, Task, Verb
from vmapi.domain.operation import Operation
from vmapi.domain.vm import VM
from vmapi.services.reconciler.poller import (
    MAX_INITIAL_CLOCK_SKEW,
    MAX_UNCHECKED_SECONDS,
    OPERATION_POLL_BACKOFF,
    OPERATION_POLL_OVERLAP,
    OPERATION_RETRY_INTERVAL,
    OperationPoller,
)


class Bench:
    """A poll on a desk, whose questions to the cloud are counted."""

    def __init__(self, latency: str = "create=0,*=10") -> None:
        self.desk = Desk.make(latency)
        self.asked: list[datetime] = []
        self.changed = self.desk.backend.list_changed_since
        self.desk.backend.list_changed_since = self.ask  # type: ignore[method-assign]
        self.poll = OperationPoller(self.desk.looks, lambda: self.desk.clock().timestamp())

    def ask(self, since: datetime) -> Sequence[VM]:
        self.asked.append(since)
        return self.changed(since)

    def stopping(self) -> Operation:
        """Return a stop that the cloud has taken on."""
        operation = self.desk.add(Action.STOP, vm_id=self.desk.running())
        return self.desk.advance(operation).operation

    def ready(self) -> dict[str, VM | None]:
        found = self.poll.list_due(self.desk.store.list_leased())
        return {each.operation.id: each.vm for each in found}


def test_one_question_serves_all() -> None:
    bench = Bench()
    stops = [bench.stopping() for _ in range(20)]
    assert bench.ready() == {}
    assert len(bench.asked) == 1
    bench.desk.clock.sleep(10)
    found = bench.ready()
    assert len(bench.asked) == 2
    assert set(found) == {stop.id for stop in stops}
    assert {vm.status for vm in found.values() if vm is not None} == {Status.STOPPED}


def test_what_waits_for_nothing_is_ready_and_asks_nothing() -> None:
    bench = Bench()
    operation = bench.desk.create(Verb.CREATE, Verb.STOP)
    assert bench.ready() == {operation.id: None}
    assert bench.ready() == {}
    bench.desk.clock.sleep(OPERATION_RETRY_INTERVAL)
    assert bench.ready() == {operation.id: None}
    assert bench.asked == []


def test_it_asks_from_before_the_oldest_then_by_the_clouds_own_clock() -> None:
    bench = Bench()
    begun = bench.desk.clock()
    bench.stopping()
    bench.desk.clock.sleep(1)
    bench.stopping()
    bench.ready()
    assert bench.asked == [begun - MAX_INITIAL_CLOCK_SKEW]
    bench.desk.clock.sleep(1)
    newest = max(vm.updated_at for vm in bench.desk.backend.list_vms())
    bench.ready()
    assert bench.asked[1] == newest - OPERATION_POLL_OVERLAP


def test_it_begins_anew_when_nothing_has_waited() -> None:
    bench = Bench()
    bench.stopping()
    bench.ready()
    for operation in bench.desk.store.list_leased():
        bench.desk.add(Action.DELETE, vm_id=operation.vm_id)
    bench.desk.clock.sleep(100)
    for operation in bench.desk.store.list_leased():
        bench.desk.advance(operation)
        bench.desk.clock.sleep(10)
        bench.desk.advance(operation)
    assert bench.ready() == {}
    later = bench.desk.clock()
    bench.stopping()
    bench.ready()
    assert bench.asked[-1] == later - MAX_INITIAL_CLOCK_SKEW


def test_one_that_seems_not_to_move_is_looked_at_all_the_same() -> None:
    bench = Bench()
    operation = bench.stopping()
    bench.desk.backend.list_changed_since = lambda since: ()  # type: ignore[method-assign]
    assert bench.ready() == {}
    bench.desk.clock.sleep(MAX_UNCHECKED_SECONDS - 0.001)
    assert bench.ready() == {}
    bench.desk.clock.sleep(0.001)
    assert bench.ready() == {operation.id: None}
    assert bench.ready() == {}
    bench.desk.clock.sleep(MAX_UNCHECKED_SECONDS)
    assert bench.ready() == {operation.id: None}


def test_how_a_vm_was_before_it_was_changed_is_forgotten() -> None:
    bench = Bench()
    stop = bench.stopping()
    bench.desk.clock.sleep(10)
    (seen,) = bench.ready().values()
    assert seen is not None
    assert (seen.status, seen.task) == (Status.STOPPED, None)
    bench.desk.advance(stop, seen)
    start = bench.desk.add(Action.START, vm_id=stop.vm_id)
    bench.desk.advance(start)
    # what it has come to since, another look has kept already
    bench.desk.backend.list_changed_since = lambda since: ()  # type: ignore[method-assign]
    assert bench.ready() == {}


@pytest.mark.parametrize(
    "error",
    [errors.BackendUnavailable("away"), errors.BackendTimeout("late"), errors.Forbidden("no")],
)
def test_a_cloud_that_is_away_is_asked_again(error: errors.VmapiError) -> None:
    bench = Bench()
    operation = bench.stopping()

    def away(since: datetime) -> Sequence[VM]:
        raise error

    changed, bench.changed = bench.changed, away
    with capture_logs() as logs:
        assert bench.ready() == {}
    assert [(line["event"], line["reason"]) for line in logs] == [
        ("the cloud does not answer", error.detail)
    ]
    bench.desk.clock.sleep(OPERATION_POLL_BACKOFF - 0.001)
    with capture_logs() as logs:
        assert bench.ready() == {}
    assert logs == []
    bench.changed = changed
    bench.desk.clock.sleep(10)
    assert set(bench.ready()) == {operation.id}


@pytest.mark.parametrize(
    "seen",
    [
        {"status": Status.BUILDING},
        {"task": Task.STOPPING},
        {"status": Status.BUILDING, "task": None},
    ],
)
def test_one_that_is_busy_is_left_alone(seen: dict[str, object]) -> None:
    bench = Bench()
    operation = bench.stopping()
    vm = bench.desk.backend.get_vm(operation.vm_id or "")
    busy = replace(vm, **{"task": None, **seen})  # type: ignore[arg-type]
    bench.desk.backend.list_changed_since = lambda since: (busy,)  # type: ignore[method-assign]
    assert bench.ready() == {}


def test_a_vm_that_was_deleted_is_handed_on() -> None:
    bench = Bench("create=0,delete=1,*=10")
    operation = bench.stopping()
    bench.desk.backend.perform_action(operation.vm_id or "", Verb.DELETE)
    bench.desk.clock.sleep(1)
    vm = bench.ready()[operation.id]
    assert vm is not None
    assert vm.status is Status.DELETED
    ended = bench.desk.carry(operation, vm).operation
    assert ended.error is not None
    assert ended.error.code == "backend_lost"


def test_an_old_sight_of_a_vm_fails_nothing() -> None:
    bench = Bench("create=0,stop=10")
    operation = bench.stopping()
    vm = bench.desk.backend.get_vm(operation.vm_id or "")
    before = replace(vm, task=None, updated_at=vm.updated_at - timedelta(seconds=1))
    assert before.status is Status.RUNNING
    assert bench.desk.carry(operation, before).waiting_on_cloud
    bench.desk.clock.sleep(10)
    # the cloud says that it is done, what was seen says that it was not
    progress = bench.desk.carry(operation, before)
    assert progress.operation.status == "succeeded"
    assert progress.vm is not None
    assert progress.vm.status is Status.STOPPED


def test_what_may_have_been_sent_is_looked_for_now_and_then() -> None:
    bench = Bench("0")
    operation = bench.desk.create()
    bench.desk.backend.fail("create", errors.BackendTimeout("late"))
    with pytest.raises(errors.BackendTimeout):
        bench.desk.advance(operation)
    for seconds, ready in [
        (0, True),
        (0, False),
        (OPERATION_RETRY_INTERVAL - 0.001, False),
        (0.001, True),
    ]:
        bench.desk.clock.sleep(seconds)
        assert set(bench.ready()) == ({operation.id} if ready else set())
    assert bench.asked == []
