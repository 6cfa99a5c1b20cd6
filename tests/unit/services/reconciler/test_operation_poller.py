"""The poller of operations: one request to the cloud per round for all operations."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from structlog.testing import capture_logs

from tests.support.reconciler_harness import ReconcilerHarness
from vmapi import errors
from vmapi.backends.openstack.failures.exceptions import RequestsThrottled
from vmapi.domain.audit import AuditEntry
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
    """A poller on a reconciler harness that records each poll of the cloud."""

    def __init__(self, latency: str = "create=0,*=10") -> None:
        self.base = ReconcilerHarness.build(latency)
        self.polled_since: list[datetime] = []
        self.list_changed = self.base.backend.list_changed_since
        self.base.backend.list_changed_since = self.count_poll
        self.poller = OperationPoller(self.base.observer, lambda: self.base.clock().timestamp())

    def count_poll(self, since: datetime) -> Sequence[VM]:
        self.polled_since.append(since)
        return self.list_changed(since)

    def start_stop(self) -> Operation:
        """Return a stop that the cloud has accepted."""
        operation = self.base.add_operation(Action.STOP, vm_id=self.base.running_vm())
        return self.base.reconcile(operation).operation

    def list_due(self) -> dict[str, VM | None]:
        due_operations = self.poller.list_due(self.base.operations.list_leased())
        return {due.operation.id: due.vm for due in due_operations}


def test_poll_sends_one_request_for_all_operations() -> None:
    harness = PollerHarness()
    stops = [harness.start_stop() for _ in range(20)]
    assert harness.list_due() == {}
    assert len(harness.polled_since) == 1
    harness.base.clock.sleep(10)
    vms_by_operation = harness.list_due()
    assert len(harness.polled_since) == 2
    assert set(vms_by_operation) == {stop.id for stop in stops}
    assert {vm.status for vm in vms_by_operation.values() if vm is not None} == {Status.STOPPED}


def test_operation_without_an_accepted_step_is_due_without_a_request() -> None:
    harness = PollerHarness()
    operation = harness.base.add_create(Verb.CREATE, Verb.STOP)
    assert harness.list_due() == {operation.id: None}
    assert harness.list_due() == {}
    harness.base.clock.sleep(OPERATION_RETRY_INTERVAL)
    assert harness.list_due() == {operation.id: None}
    assert harness.polled_since == []


def test_requested_retry_makes_a_waiting_operation_due_once() -> None:
    harness = PollerHarness()
    stop = harness.start_stop()
    assert harness.list_due() == {}
    for _ in range(2):
        harness.base.clock.sleep(0.1)
        entry = AuditEntry.for_operator(stop, harness.base.clock(), "operation_retry", "me")
        harness.base.store.operation_administration.request_retry(stop, entry)
        assert harness.list_due() == {stop.id: None}
        assert harness.list_due() == {}


def test_failed_poll_is_recorded_for_the_operations_that_wait() -> None:
    harness = PollerHarness()
    stop = harness.start_stop()
    create = harness.base.add_create(Verb.CREATE, Verb.STOP)
    administration = harness.base.store.operation_administration
    poller = OperationPoller(
        harness.base.observer,
        lambda: harness.base.clock().timestamp(),
        administration.record_failure,
    )
    harness.base.backend.set_faults("unavailable=1")
    poller.list_due(harness.base.operations.list_leased())
    report = administration.get(stop.id)
    assert (report.failed_attempts, report.last_failure and report.last_failure.code) == (
        1,
        "backend_unavailable",
    )
    assert administration.get(create.id).failed_attempts == 0


def test_poll_starts_before_the_oldest_step_and_continues_by_the_clock_of_the_cloud() -> None:
    harness = PollerHarness()
    started_at = harness.base.clock()
    harness.start_stop()
    harness.base.clock.sleep(1)
    harness.start_stop()
    harness.list_due()
    assert harness.polled_since == [started_at - MAX_INITIAL_CLOCK_SKEW]
    harness.base.clock.sleep(1)
    newest = max(vm.updated_at for vm in harness.base.backend.list_vms())
    harness.list_due()
    assert harness.polled_since[1] == newest - OPERATION_POLL_OVERLAP


def test_poll_restarts_its_window_after_a_round_without_operations() -> None:
    harness = PollerHarness()
    harness.start_stop()
    harness.list_due()
    for operation in harness.base.operations.list_leased():
        harness.base.add_operation(Action.DELETE, vm_id=operation.vm_id)
    harness.base.clock.sleep(100)
    for operation in harness.base.operations.list_leased():
        harness.base.reconcile(operation)
        harness.base.clock.sleep(10)
        harness.base.reconcile(operation)
    assert harness.list_due() == {}
    restarted_at = harness.base.clock()
    harness.start_stop()
    harness.list_due()
    assert harness.polled_since[-1] == restarted_at - MAX_INITIAL_CLOCK_SKEW


def test_operation_without_changes_is_due_after_the_unchecked_limit() -> None:
    harness = PollerHarness()
    operation = harness.start_stop()
    harness.base.backend.list_changed_since = lambda since: ()
    assert harness.list_due() == {}
    harness.base.clock.sleep(MAX_UNCHECKED_SECONDS - 0.001)
    assert harness.list_due() == {}
    harness.base.clock.sleep(0.001)
    assert harness.list_due() == {operation.id: None}
    assert harness.list_due() == {}
    harness.base.clock.sleep(MAX_UNCHECKED_SECONDS)
    assert harness.list_due() == {operation.id: None}


def test_vm_observed_before_a_change_is_discarded() -> None:
    harness = PollerHarness()
    stop = harness.start_stop()
    harness.base.clock.sleep(10)
    (stopped_vm,) = harness.list_due().values()
    assert stopped_vm is not None
    assert (stopped_vm.status, stopped_vm.task) == (Status.STOPPED, None)
    harness.base.reconcile_copy(stop, stopped_vm)
    start = harness.base.add_operation(Action.START, vm_id=stop.vm_id)
    harness.base.reconcile(start)
    # another observation has stored the current state of the VM already
    harness.base.backend.list_changed_since = lambda since: ()
    assert harness.list_due() == {}


@pytest.mark.parametrize(
    "error",
    [
        errors.BackendUnavailable("unavailable"),
        errors.BackendTimeout("late"),
        errors.Forbidden("no"),
    ],
)
def test_poll_of_an_unavailable_cloud_is_retried_after_the_backoff(
    error: errors.VmapiError,
) -> None:
    harness = PollerHarness()
    operation = harness.start_stop()

    def raise_error(since: datetime) -> Sequence[VM]:
        raise error

    list_changed, harness.list_changed = harness.list_changed, raise_error
    with capture_logs() as logs:
        assert harness.list_due() == {}
    assert [(line["event"], line["reason"]) for line in logs] == [
        ("operation poll failed, will retry", error.detail)
    ]
    harness.base.clock.sleep(OPERATION_POLL_BACKOFF - 0.001)
    with capture_logs() as logs:
        assert harness.list_due() == {}
    assert logs == []
    harness.list_changed = list_changed
    harness.base.clock.sleep(10)
    assert set(harness.list_due()) == {operation.id}


def test_outage_of_five_minutes_logs_a_poll_a_minute() -> None:
    harness = PollerHarness()
    harness.start_stop()

    def raise_error(since: datetime) -> Sequence[VM]:
        raise errors.BackendUnavailable("unavailable")

    list_changed, harness.list_changed = harness.list_changed, raise_error
    with capture_logs() as logs:
        for _ in range(150):
            harness.list_due()
            harness.base.clock.sleep(OPERATION_POLL_BACKOFF)
        harness.list_changed = list_changed
        harness.list_due()
        harness.start_stop()
        harness.list_changed = raise_error
        harness.list_due()
    polls = [line for line in logs if line["event"] == "operation poll failed, will retry"]
    assert [line["failures"] for line in polls] == [1, 31, 61, 91, 121, 1]


def test_throttled_poll_is_retried_after_the_wait_of_the_cloud() -> None:
    harness = PollerHarness()
    harness.start_stop()
    polls = 0

    def refuse(since: datetime) -> Sequence[VM]:
        nonlocal polls
        polls += 1
        raise RequestsThrottled("HTTP 429", retry_after=30)

    harness.list_changed = refuse
    for _ in range(4):
        assert harness.list_due() == {}
        harness.base.clock.sleep(9)
    assert polls == 1
    harness.base.clock.sleep(9)
    harness.list_due()
    assert polls == 2


@pytest.mark.parametrize(
    "vm_fields",
    [
        {"status": Status.BUILDING},
        {"task": Task.STOPPING},
        {"status": Status.BUILDING, "task": None},
    ],
)
def test_operation_with_a_busy_vm_is_not_due(vm_fields: dict[str, object]) -> None:
    harness = PollerHarness()
    operation = harness.start_stop()
    vm = harness.base.backend.get_vm(operation.vm_id or "")
    busy_vm = replace(vm, **{"task": None, **vm_fields})
    harness.base.backend.list_changed_since = lambda since: (busy_vm,)
    assert harness.list_due() == {}


def test_deleted_vm_is_returned_with_its_operation() -> None:
    harness = PollerHarness("create=0,delete=1,*=10")
    operation = harness.start_stop()
    harness.base.backend.perform_action(operation.vm_id or "", Verb.DELETE)
    harness.base.clock.sleep(1)
    vm = harness.list_due()[operation.id]
    assert vm is not None
    assert vm.status is Status.DELETED
    failed = harness.base.reconcile_copy(operation, vm).operation
    assert failed.error is not None
    assert failed.error.code == "backend_lost"


def test_stale_observation_does_not_fail_the_operation() -> None:
    harness = PollerHarness("create=0,stop=10")
    operation = harness.start_stop()
    vm = harness.base.backend.get_vm(operation.vm_id or "")
    stale_vm = replace(vm, task=None, updated_at=vm.updated_at - timedelta(seconds=1))
    assert stale_vm.status is Status.RUNNING
    assert harness.base.reconcile_copy(operation, stale_vm).waiting_on_cloud
    harness.base.clock.sleep(10)
    # the record of the cloud says finished, the stale observation does not
    progress = harness.base.reconcile_copy(operation, stale_vm)
    assert progress.operation.status == "succeeded"
    assert harness.base.inventory_vm(operation).status is Status.STOPPED


def test_dispatching_operation_is_due_once_per_retry_interval() -> None:
    harness = PollerHarness("0")
    operation = harness.base.add_create()
    harness.base.backend.fail("create", errors.BackendTimeout("late"))
    with pytest.raises(errors.BackendTimeout):
        harness.base.reconcile(operation)
    for seconds, is_due in [
        (0, True),
        (0, False),
        (OPERATION_RETRY_INTERVAL - 0.001, False),
        (0.001, True),
    ]:
        harness.base.clock.sleep(seconds)
        assert set(harness.list_due()) == ({operation.id} if is_due else set())
    assert harness.polled_since == []
