"""Starting, reconciling and listing operations."""

from contextlib import suppress

import pytest

from tests.support.metrics import RecordedMetrics
from tests.support.reconciler_harness import RESPONSE_TIMEOUT, ReconcilerHarness
from vmapi import errors
from vmapi.domain.access.caller import IdempotencyKey
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import OperationQuery, OperationStatus
from vmapi.domain.pagination import PageRequest
from vmapi.services.operations.service import OperationService
from vmapi.services.operations.waiting import OperationWaiter
from vmapi.services.reconciler.defects import MAX_DEFECTS, DefectLimiter
from vmapi.services.reconciler.poller import OperationPoller

KEY = IdempotencyKey("me", "k", "f" * 64)


class OperationServiceHarness:
    """An operation service on a reconciler harness."""

    def __init__(self, latency: str = "0") -> None:
        self.base = ReconcilerHarness.build(latency)
        self.notified_ids = self.base.notified_ids
        store, reconciler = self.base.operations, self.base.reconciler
        self.waiter = OperationWaiter(store.get, 1, 1, lambda: False)
        poller = OperationPoller(self.base.observer, lambda: self.base.clock().timestamp())
        limiter = DefectLimiter(
            self.base.store, self.base.observer, self.base.clock, RESPONSE_TIMEOUT
        )
        self.operations = OperationService(
            self.base.store,
            reconciler,
            self.waiter,
            poller,
            defect_limiter=limiter,
            notify_engine=self.notified_ids.append,
        )


def test_operation_finished_at_once_does_not_notify_the_engine() -> None:
    harness = OperationServiceHarness()
    result = harness.base.start(harness.base.add_create())
    assert (result.operation.status, harness.notified_ids) == (OperationStatus.SUCCEEDED, [])


def test_unfinished_operation_notifies_the_engine() -> None:
    harness = OperationServiceHarness("create=1")
    operation = harness.base.add_create()
    result = harness.base.start(operation)
    assert (result.operation.status, harness.notified_ids) == (
        OperationStatus.RUNNING,
        [operation.id],
    )


@pytest.mark.parametrize(
    "error", [errors.BackendTimeout("late"), RuntimeError("a defect")], ids=repr
)
def test_unknown_outcome_notifies_the_engine(error: Exception) -> None:
    harness = OperationServiceHarness()
    harness.base.backend.fail("create", error)
    operation = harness.base.add_create()
    with pytest.raises(type(error)):
        harness.base.start(operation)
    assert harness.notified_ids == [operation.id]
    assert len(harness.operations.list_leased()) == 1


def test_refusal_is_raised_without_notifying_the_engine() -> None:
    harness = OperationServiceHarness()
    harness.base.backend.fail("create", errors.QuotaExceeded("too much"))
    with pytest.raises(errors.QuotaExceeded):
        harness.base.start(harness.base.add_create())
    assert harness.notified_ids == []


def test_failed_build_is_a_result_and_no_exception() -> None:
    harness = OperationServiceHarness()
    harness.base.backend.set_faults("no_capacity=1")
    result = harness.base.start(harness.base.add_create())
    assert type(result.error) is errors.NoCapacity


def test_failed_action_is_raised() -> None:
    harness = OperationServiceHarness()
    vm_id = harness.base.running_vm()
    harness.base.backend.set_faults("action_failed=1")
    with pytest.raises(errors.BackendError):
        harness.base.start(harness.base.add_operation(Action.STOP, vm_id=vm_id))


def test_lost_response_in_the_background_is_no_error() -> None:
    harness = OperationServiceHarness()
    operation = harness.base.add_operation(Action.STOP, vm_id=harness.base.running_vm())
    harness.base.release(operation)
    harness.base.backend.fail("perform", errors.BackendTimeout("late"), done=True)
    reconciled = harness.operations.reconcile(operation)
    assert (reconciled.status, reconciled) == (
        OperationStatus.RUNNING,
        harness.operations.get(operation.id, None, "me"),
    )
    assert harness.operations.reconcile(reconciled).status is OperationStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("method", "error", "code"),
    [
        ("find", errors.BackendError("broken"), "backend_error"),
        ("find", RuntimeError("a defect"), "internal_error"),
        ("perform", errors.BackendTimeout("late"), "backend_timeout"),
        ("perform", RuntimeError("a defect"), "internal_error"),
    ],
)
def test_failed_attempt_in_the_background_is_recorded(
    method: str, error: Exception, code: str
) -> None:
    harness = OperationServiceHarness()
    operation = harness.base.add_operation(Action.STOP, vm_id=harness.base.running_vm())
    harness.base.release(operation)
    if method == "find":
        harness.base.backend.fail("perform", errors.BackendTimeout("late"))
        harness.operations.reconcile(operation)
    harness.base.backend.fail(method, error)
    with suppress(RuntimeError):
        harness.operations.reconcile(harness.base.reload(operation))
    report = harness.base.store.operation_administration.get(operation.id)
    assert report.last_failure is not None
    assert report.last_failure.code == code
    assert report.failed_attempts == (2 if method == "find" else 1)


@pytest.mark.parametrize("method", ["outcome", "find"])
def test_operation_that_crashes_each_attempt_fails_with_its_reason(
    method: str, metrics: RecordedMetrics
) -> None:
    harness = OperationServiceHarness("stop=1")
    operation = harness.base.add_operation(Action.STOP, vm_id=harness.base.running_vm(), key=KEY)
    harness.base.release(operation)
    if method == "find":
        harness.base.backend.fail("perform", errors.BackendTimeout("late"))
    harness.operations.reconcile(operation)
    harness.base.clock.sleep(60)
    for _ in range(MAX_DEFECTS):
        assert harness.base.reload(operation).status is OperationStatus.RUNNING
        harness.base.backend.fail(method, RuntimeError("a defect"))
        harness.operations.reconcile(harness.base.reload(operation))
    ended = harness.base.reload(operation)
    assert (ended.status, ended.key) == (OperationStatus.FAILED, KEY)
    assert ended.error is not None
    assert (ended.error.code, ended.error.detail) == (
        "internal_error",
        f"vmapi failed in {MAX_DEFECTS} attempts. RuntimeError: a defect of vmapi, see its log.",
    )
    assert metrics.read().sum("vmapi_operations_abandoned_total", action="stop") == 1


def test_failures_of_the_cloud_are_no_defects() -> None:
    harness = OperationServiceHarness("stop=1")
    operation = harness.base.add_operation(Action.STOP, vm_id=harness.base.running_vm())
    harness.base.release(operation)
    harness.operations.reconcile(operation)
    harness.base.clock.sleep(60)
    for _ in range(MAX_DEFECTS + 1):
        harness.base.backend.fail("outcome", errors.BackendError("broken"))
        harness.operations.reconcile(harness.base.reload(operation))
    reconciled = harness.operations.reconcile(harness.base.reload(operation))
    assert reconciled.status is OperationStatus.SUCCEEDED


def test_create_that_may_still_arrive_is_not_abandoned() -> None:
    harness = OperationServiceHarness()
    operation = harness.base.add_create()
    harness.base.backend.fail("create", errors.BackendTimeout("late"))
    with suppress(errors.BackendTimeout):
        harness.base.start(operation)
    for _ in range(MAX_DEFECTS + 1):
        harness.base.backend.fail("find", RuntimeError("a defect"))
        harness.operations.reconcile(harness.base.reload(operation))
    assert harness.base.reload(operation).status is OperationStatus.RUNNING
    harness.base.clock.sleep(200)
    harness.base.backend.fail("find", RuntimeError("a defect"))
    harness.operations.reconcile(harness.base.reload(operation))
    assert harness.base.reload(operation).status is OperationStatus.FAILED


def test_operation_with_a_new_lease_is_not_reconciled_in_the_background() -> None:
    harness = OperationServiceHarness("create=1")
    operation = harness.base.add_create()
    assert harness.operations.reconcile(operation) == operation
    assert not harness.base.backend.dispatched
    harness.base.start(operation)
    assert [leased.id for leased in harness.operations.list_leased()] == [operation.id]
    harness.base.clock.sleep(1)
    stored = harness.operations.get(operation.id, None, "me")
    assert harness.operations.reconcile(stored).status is OperationStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("query", "count"),
    [
        (OperationQuery(), 2),
        (OperationQuery(action=Action.STOP), 1),
        (OperationQuery(action=Action.START), 0),
        (OperationQuery(status=OperationStatus.SUCCEEDED), 2),
        (OperationQuery(status=OperationStatus.FAILED), 0),
        (OperationQuery(vm_id="unknown"), 0),
    ],
)
def test_list_filters_by_the_query(query: OperationQuery, count: int) -> None:
    harness = OperationServiceHarness()
    harness.base.start(harness.base.add_operation(Action.STOP, vm_id=harness.base.running_vm()))
    assert harness.operations.list(query, PageRequest(), None).total == count
