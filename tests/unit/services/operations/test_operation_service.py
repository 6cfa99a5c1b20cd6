"""Operations as they are begun, carried on, and found again."""

import pytest

from tests.support.reconciler_harness import ReconcilerHarness
from vmapi import errors
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import OperationQuery, OperationStatus
from vmapi.domain.pagination import PageRequest
from vmapi.services.operations.service import OperationService
from vmapi.services.operations.waiting import OperationWaiter
from vmapi.services.reconciler.poller import OperationPoller


class OperationServiceHarness:
    """Operations on a desk, that count how often the engine was woken."""

    def __init__(self, latency: str = "0") -> None:
        self.harness = ReconcilerHarness.build(latency)
        self.notified_ids = self.harness.notified_ids
        store, controller = self.harness.operations, self.harness.reconciler
        self.waiter = OperationWaiter(store.get, 1, 1, lambda: False)
        poll = OperationPoller(self.harness.observer, lambda: self.harness.clock().timestamp())
        self.operations = OperationService(
            self.harness.store, controller, self.waiter, poll, self.notified_ids.append
        )


def test_what_is_settled_at_once_wakes_nobody() -> None:
    bench = OperationServiceHarness()
    progress = bench.harness.start(bench.harness.add_create())
    assert (progress.operation.status, bench.notified_ids) == (OperationStatus.SUCCEEDED, [])


def test_what_is_under_way_wakes_the_engine() -> None:
    bench = OperationServiceHarness("create=1")
    operation = bench.harness.add_create()
    progress = bench.harness.start(operation)
    assert (progress.operation.status, bench.notified_ids) == (
        OperationStatus.RUNNING,
        [operation.id],
    )


@pytest.mark.parametrize(
    "error", [errors.BackendTimeout("late"), RuntimeError("a defect")], ids=repr
)
def test_what_is_not_known_wakes_the_engine(error: Exception) -> None:
    bench = OperationServiceHarness()
    bench.harness.backend.fail("create", error)  # type: ignore[arg-type]
    operation = bench.harness.add_create()
    with pytest.raises(type(error)):
        bench.harness.start(operation)
    assert bench.notified_ids == [operation.id]
    assert len(bench.operations.list_leased()) == 1


def test_a_refusal_is_raised_and_wakes_nobody() -> None:
    bench = OperationServiceHarness()
    bench.harness.backend.fail("create", errors.QuotaExceeded("too much"))
    with pytest.raises(errors.QuotaExceeded):
        bench.harness.start(bench.harness.add_create())
    assert bench.notified_ids == []


def test_a_build_that_failed_is_not_raised_for_there_is_a_vm() -> None:
    bench = OperationServiceHarness()
    bench.harness.backend.set_faults("no_capacity=1")
    progress = bench.harness.start(bench.harness.add_create())
    assert type(progress.error) is errors.NoCapacity


def test_an_action_that_failed_is_raised() -> None:
    bench = OperationServiceHarness()
    vm_id = bench.harness.running_vm()
    bench.harness.backend.set_faults("action_failed=1")
    with pytest.raises(errors.BackendError):
        bench.harness.start(bench.harness.add_operation(Action.STOP, vm_id=vm_id))


def test_in_the_background_a_lost_answer_is_no_error() -> None:
    bench = OperationServiceHarness()
    operation = bench.harness.add_operation(Action.STOP, vm_id=bench.harness.running_vm())
    bench.harness.release(operation)
    bench.harness.backend.fail("perform", errors.BackendTimeout("late"), done=True)
    carried = bench.operations.reconcile(operation)
    assert (carried.status, carried) == (
        OperationStatus.RUNNING,
        bench.operations.get(operation.id, None, "me"),
    )
    assert bench.operations.reconcile(carried).status is OperationStatus.SUCCEEDED


def test_one_that_is_not_begun_is_not_carried_on() -> None:
    bench = OperationServiceHarness("create=1")
    operation = bench.harness.add_create()
    assert bench.operations.reconcile(operation) == operation
    assert not bench.harness.backend.dispatched
    bench.harness.start(operation)
    assert [found.id for found in bench.operations.list_leased()] == [operation.id]
    bench.harness.clock.sleep(1)
    begun = bench.operations.get(operation.id, None, "me")
    assert bench.operations.reconcile(begun).status is OperationStatus.SUCCEEDED


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (OperationQuery(), 2),
        (OperationQuery(action=Action.STOP), 1),
        (OperationQuery(action=Action.START), 0),
        (OperationQuery(status=OperationStatus.SUCCEEDED), 2),
        (OperationQuery(status=OperationStatus.FAILED), 0),
        (OperationQuery(vm_id="nobody"), 0),
    ],
)
def test_list(query: OperationQuery, found: int) -> None:
    bench = OperationServiceHarness()
    bench.harness.start(bench.harness.add_operation(Action.STOP, vm_id=bench.harness.running_vm()))
    assert bench.operations.list(query, PageRequest(), None).total == found
