"""The poller of operations: one request to the cloud per round for all operations."""

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
    """A poller on a reconciler harness that records each poll of the cloud."""

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
        """Return a stop that the cloud has accepted."""
        operation = self.harness.add_operation(Action.STOP, vm_id=self.harness.running_vm())
        return self.harness.reconcile(operation).operation

    def list_due(self) -> dict[str, VM | None]:
        due_operations = self.poller.list_due(self.harness.operations.list_leased())
        return {due.operation.id: due.vm for due in due_operations}


def test_poll_sends_one_request_for_all_operations() -> None:
    poller_harness = PollerHarness()
    stops = [poller_harness.start_stop() for _ in range(20)]
    assert poller_harness.list_due() == {}
    assert len(poller_harness.polled_since) == 1
    poller_harness.harness.clock.sleep(10)
    vms_by_operation = poller_harness.list_due()
    assert len(poller_harness.polled_since) == 2
    assert set(vms_by_operation) == {stop.id for stop in stops}
    assert {vm.status for vm in vms_by_operation.values() if vm is not None} == {Status.STOPPED}


def test_operation_without_an_accepted_step_is_due_without_a_request() -> None:
    poller_harness = PollerHarness()
    operation = poller_harness.harness.add_create(Verb.CREATE, Verb.STOP)
    assert poller_harness.list_due() == {operation.id: None}
    assert poller_harness.list_due() == {}
    poller_harness.harness.clock.sleep(OPERATION_RETRY_INTERVAL)
    assert poller_harness.list_due() == {operation.id: None}
    assert poller_harness.polled_since == []


def test_poll_starts_before_the_oldest_step_and_continues_by_the_clock_of_the_cloud() -> None:
    poller_harness = PollerHarness()
    started_at = poller_harness.harness.clock()
    poller_harness.start_stop()
    poller_harness.harness.clock.sleep(1)
    poller_harness.start_stop()
    poller_harness.list_due()
    assert poller_harness.polled_since == [started_at - MAX_INITIAL_CLOCK_SKEW]
    poller_harness.harness.clock.sleep(1)
    newest = max(vm.updated_at for vm in poller_harness.harness.backend.list_vms())
    poller_harness.list_due()
    assert poller_harness.polled_since[1] == newest - OPERATION_POLL_OVERLAP


def test_poll_restarts_its_window_after_a_round_without_operations() -> None:
    poller_harness = PollerHarness()
    poller_harness.start_stop()
    poller_harness.list_due()
    for operation in poller_harness.harness.operations.list_leased():
        poller_harness.harness.add_operation(Action.DELETE, vm_id=operation.vm_id)
    poller_harness.harness.clock.sleep(100)
    for operation in poller_harness.harness.operations.list_leased():
        poller_harness.harness.reconcile(operation)
        poller_harness.harness.clock.sleep(10)
        poller_harness.harness.reconcile(operation)
    assert poller_harness.list_due() == {}
    restarted_at = poller_harness.harness.clock()
    poller_harness.start_stop()
    poller_harness.list_due()
    assert poller_harness.polled_since[-1] == restarted_at - MAX_INITIAL_CLOCK_SKEW


def test_operation_without_changes_is_due_after_the_unchecked_limit() -> None:
    poller_harness = PollerHarness()
    operation = poller_harness.start_stop()
    poller_harness.harness.backend.list_changed_since = lambda since: ()  # type: ignore[method-assign]
    assert poller_harness.list_due() == {}
    poller_harness.harness.clock.sleep(MAX_UNCHECKED_SECONDS - 0.001)
    assert poller_harness.list_due() == {}
    poller_harness.harness.clock.sleep(0.001)
    assert poller_harness.list_due() == {operation.id: None}
    assert poller_harness.list_due() == {}
    poller_harness.harness.clock.sleep(MAX_UNCHECKED_SECONDS)
    assert poller_harness.list_due() == {operation.id: None}


def test_vm_observed_before_a_change_is_discarded() -> None:
    poller_harness = PollerHarness()
    stop = poller_harness.start_stop()
    poller_harness.harness.clock.sleep(10)
    (stopped_vm,) = poller_harness.list_due().values()
    assert stopped_vm is not None
    assert (stopped_vm.status, stopped_vm.task) == (Status.STOPPED, None)
    poller_harness.harness.reconcile(stop, stopped_vm)
    start = poller_harness.harness.add_operation(Action.START, vm_id=stop.vm_id)
    poller_harness.harness.reconcile(start)
    # another observation has stored the current state of the VM already
    poller_harness.harness.backend.list_changed_since = lambda since: ()  # type: ignore[method-assign]
    assert poller_harness.list_due() == {}


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
    poller_harness = PollerHarness()
    operation = poller_harness.start_stop()

    def raise_error(since: datetime) -> Sequence[VM]:
        raise error

    list_changed, poller_harness.list_changed = poller_harness.list_changed, raise_error
    with capture_logs() as logs:
        assert poller_harness.list_due() == {}
    assert [(line["event"], line["reason"]) for line in logs] == [
        ("operation poll failed, will retry", error.detail)
    ]
    poller_harness.harness.clock.sleep(OPERATION_POLL_BACKOFF - 0.001)
    with capture_logs() as logs:
        assert poller_harness.list_due() == {}
    assert logs == []
    poller_harness.list_changed = list_changed
    poller_harness.harness.clock.sleep(10)
    assert set(poller_harness.list_due()) == {operation.id}


@pytest.mark.parametrize(
    "vm_fields",
    [
        {"status": Status.BUILDING},
        {"task": Task.STOPPING},
        {"status": Status.BUILDING, "task": None},
    ],
)
def test_operation_with_a_busy_vm_is_not_due(vm_fields: dict[str, object]) -> None:
    poller_harness = PollerHarness()
    operation = poller_harness.start_stop()
    vm = poller_harness.harness.backend.get_vm(operation.vm_id or "")
    busy_vm = replace(vm, **{"task": None, **vm_fields})  # type: ignore[arg-type]
    poller_harness.harness.backend.list_changed_since = lambda since: (busy_vm,)  # type: ignore[method-assign]
    assert poller_harness.list_due() == {}


def test_deleted_vm_is_returned_with_its_operation() -> None:
    poller_harness = PollerHarness("create=0,delete=1,*=10")
    operation = poller_harness.start_stop()
    poller_harness.harness.backend.perform_action(operation.vm_id or "", Verb.DELETE)
    poller_harness.harness.clock.sleep(1)
    vm = poller_harness.list_due()[operation.id]
    assert vm is not None
    assert vm.status is Status.DELETED
    failed = poller_harness.harness.reconcile_copy(operation, vm).operation
    assert failed.error is not None
    assert failed.error.code == "backend_lost"


def test_stale_observation_does_not_fail_the_operation() -> None:
    poller_harness = PollerHarness("create=0,stop=10")
    operation = poller_harness.start_stop()
    vm = poller_harness.harness.backend.get_vm(operation.vm_id or "")
    stale_vm = replace(vm, task=None, updated_at=vm.updated_at - timedelta(seconds=1))
    assert stale_vm.status is Status.RUNNING
    assert poller_harness.harness.reconcile_copy(operation, stale_vm).waiting_on_cloud
    poller_harness.harness.clock.sleep(10)
    # the record of the cloud says finished, the stale observation does not
    progress = poller_harness.harness.reconcile_copy(operation, stale_vm)
    assert progress.operation.status == "succeeded"
    assert progress.vm is not None
    assert progress.vm.status is Status.STOPPED


def test_dispatching_operation_is_due_once_per_retry_interval() -> None:
    poller_harness = PollerHarness("0")
    operation = poller_harness.harness.add_create()
    poller_harness.harness.backend.fail("create", errors.BackendTimeout("late"))
    with pytest.raises(errors.BackendTimeout):
        poller_harness.harness.reconcile(operation)
    for seconds, is_due in [
        (0, True),
        (0, False),
        (OPERATION_RETRY_INTERVAL - 0.001, False),
        (0.001, True),
    ]:
        poller_harness.harness.clock.sleep(seconds)
        assert set(poller_harness.list_due()) == ({operation.id} if is_due else set())
    assert poller_harness.polled_since == []
