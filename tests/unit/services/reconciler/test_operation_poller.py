"""One question to the cloud a round, however many operations wait for it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from structlog.testing import capture_logs

from tests.support.reconciler_harness import ReconcilerHarness
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


class PollerHarness:
    """A poll on a desk, whose questions to the cloud are counted."""

    def __init__(self, latency: str = "create=0,*=10") -> None:
        self.harness = ReconcilerHarness.build(latency)
        self.polled_since: list[datetime] = []
        self.list_changed = self.harness.backend.list_changed_since
        self.harness.backend.list_changed_since = self.count_poll  # type: ignore[method-assign]
        self.poller = OperationPoller(
            self.harness.observer, lambda: self.harness.clock().timestamp()
        )

    def count_poll(self, since: datetime) -> Sequence[VM]:
        self.polled_since.append(since)
        return self.list_changed(since)

    def start_stop(self) -> Operation:
        """Return a stop that the cloud has taken on."""
        operation = self.harness.add_operation(Action.STOP, vm_id=self.harness.running_vm())
        return self.harness.reconcile(operation).operation

    def list_due(self) -> dict[str, VM | None]:
        found = self.poller.list_due(self.harness.operations.list_leased())
        return {each.operation.id: each.vm for each in found}


def test_one_question_serves_all() -> None:
    bench = PollerHarness()
    stops = [bench.start_stop() for _ in range(20)]
    assert bench.list_due() == {}
    assert len(bench.polled_since) == 1
    bench.harness.clock.sleep(10)
    found = bench.list_due()
    assert len(bench.polled_since) == 2
    assert set(found) == {stop.id for stop in stops}
    assert {vm.status for vm in found.values() if vm is not None} == {Status.STOPPED}


def test_what_waits_for_nothing_is_ready_and_asks_nothing() -> None:
    bench = PollerHarness()
    operation = bench.harness.add_create(Verb.CREATE, Verb.STOP)
    assert bench.list_due() == {operation.id: None}
    assert bench.list_due() == {}
    bench.harness.clock.sleep(OPERATION_RETRY_INTERVAL)
    assert bench.list_due() == {operation.id: None}
    assert bench.polled_since == []


def test_it_asks_from_before_the_oldest_then_by_the_clouds_own_clock() -> None:
    bench = PollerHarness()
    begun = bench.harness.clock()
    bench.start_stop()
    bench.harness.clock.sleep(1)
    bench.start_stop()
    bench.list_due()
    assert bench.polled_since == [begun - MAX_INITIAL_CLOCK_SKEW]
    bench.harness.clock.sleep(1)
    newest = max(vm.updated_at for vm in bench.harness.backend.list_vms())
    bench.list_due()
    assert bench.polled_since[1] == newest - OPERATION_POLL_OVERLAP


def test_it_begins_anew_when_nothing_has_waited() -> None:
    bench = PollerHarness()
    bench.start_stop()
    bench.list_due()
    for operation in bench.harness.operations.list_leased():
        bench.harness.add_operation(Action.DELETE, vm_id=operation.vm_id)
    bench.harness.clock.sleep(100)
    for operation in bench.harness.operations.list_leased():
        bench.harness.reconcile(operation)
        bench.harness.clock.sleep(10)
        bench.harness.reconcile(operation)
    assert bench.list_due() == {}
    later = bench.harness.clock()
    bench.start_stop()
    bench.list_due()
    assert bench.polled_since[-1] == later - MAX_INITIAL_CLOCK_SKEW


def test_one_that_seems_not_to_move_is_looked_at_all_the_same() -> None:
    bench = PollerHarness()
    operation = bench.start_stop()
    bench.harness.backend.list_changed_since = lambda since: ()  # type: ignore[method-assign]
    assert bench.list_due() == {}
    bench.harness.clock.sleep(MAX_UNCHECKED_SECONDS - 0.001)
    assert bench.list_due() == {}
    bench.harness.clock.sleep(0.001)
    assert bench.list_due() == {operation.id: None}
    assert bench.list_due() == {}
    bench.harness.clock.sleep(MAX_UNCHECKED_SECONDS)
    assert bench.list_due() == {operation.id: None}


def test_how_a_vm_was_before_it_was_changed_is_forgotten() -> None:
    bench = PollerHarness()
    stop = bench.start_stop()
    bench.harness.clock.sleep(10)
    (seen,) = bench.list_due().values()
    assert seen is not None
    assert (seen.status, seen.task) == (Status.STOPPED, None)
    bench.harness.reconcile(stop, seen)
    start = bench.harness.add_operation(Action.START, vm_id=stop.vm_id)
    bench.harness.reconcile(start)
    # what it has come to since, another look has kept already
    bench.harness.backend.list_changed_since = lambda since: ()  # type: ignore[method-assign]
    assert bench.list_due() == {}


@pytest.mark.parametrize(
    "error",
    [errors.BackendUnavailable("away"), errors.BackendTimeout("late"), errors.Forbidden("no")],
)
def test_a_cloud_that_is_away_is_asked_again(error: errors.VmapiError) -> None:
    bench = PollerHarness()
    operation = bench.start_stop()

    def away(since: datetime) -> Sequence[VM]:
        raise error

    changed, bench.list_changed = bench.list_changed, away
    with capture_logs() as logs:
        assert bench.list_due() == {}
    assert [(line["event"], line["reason"]) for line in logs] == [
        ("the cloud does not answer", error.detail)
    ]
    bench.harness.clock.sleep(OPERATION_POLL_BACKOFF - 0.001)
    with capture_logs() as logs:
        assert bench.list_due() == {}
    assert logs == []
    bench.list_changed = changed
    bench.harness.clock.sleep(10)
    assert set(bench.list_due()) == {operation.id}


@pytest.mark.parametrize(
    "seen",
    [
        {"status": Status.BUILDING},
        {"task": Task.STOPPING},
        {"status": Status.BUILDING, "task": None},
    ],
)
def test_one_that_is_busy_is_left_alone(seen: dict[str, object]) -> None:
    bench = PollerHarness()
    operation = bench.start_stop()
    vm = bench.harness.backend.get_vm(operation.vm_id or "")
    busy = replace(vm, **{"task": None, **seen})  # type: ignore[arg-type]
    bench.harness.backend.list_changed_since = lambda since: (busy,)  # type: ignore[method-assign]
    assert bench.list_due() == {}


def test_a_vm_that_was_deleted_is_handed_on() -> None:
    bench = PollerHarness("create=0,delete=1,*=10")
    operation = bench.start_stop()
    bench.harness.backend.perform_action(operation.vm_id or "", Verb.DELETE)
    bench.harness.clock.sleep(1)
    vm = bench.list_due()[operation.id]
    assert vm is not None
    assert vm.status is Status.DELETED
    ended = bench.harness.reconcile_copy(operation, vm).operation
    assert ended.error is not None
    assert ended.error.code == "backend_lost"


def test_an_old_sight_of_a_vm_fails_nothing() -> None:
    bench = PollerHarness("create=0,stop=10")
    operation = bench.start_stop()
    vm = bench.harness.backend.get_vm(operation.vm_id or "")
    before = replace(vm, task=None, updated_at=vm.updated_at - timedelta(seconds=1))
    assert before.status is Status.RUNNING
    assert bench.harness.reconcile_copy(operation, before).waiting_on_cloud
    bench.harness.clock.sleep(10)
    # the cloud says that it is done, what was seen says that it was not
    progress = bench.harness.reconcile_copy(operation, before)
    assert progress.operation.status == "succeeded"
    assert progress.vm is not None
    assert progress.vm.status is Status.STOPPED


def test_what_may_have_been_sent_is_looked_for_now_and_then() -> None:
    bench = PollerHarness("0")
    operation = bench.harness.add_create()
    bench.harness.backend.fail("create", errors.BackendTimeout("late"))
    with pytest.raises(errors.BackendTimeout):
        bench.harness.reconcile(operation)
    for seconds, ready in [
        (0, True),
        (0, False),
        (OPERATION_RETRY_INTERVAL - 0.001, False),
        (0.001, True),
    ]:
        bench.harness.clock.sleep(seconds)
        assert set(bench.list_due()) == ({operation.id} if ready else set())
    assert bench.polled_since == []
