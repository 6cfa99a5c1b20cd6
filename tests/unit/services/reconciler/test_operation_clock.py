"""Operations that a clock an hour ahead has written, after the clock was set back."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from tests.support.reconciler_harness import RESPONSE_TIMEOUT, ReconcilerHarness
from vmapi.domain.lifecycle import Action, Verb
from vmapi.domain.operation import Operation, OperationStatus, StepState
from vmapi.domain.timestamps import EPOCH, MICROSECOND
from vmapi.errors import BackendTimeout, BackendUnavailable
from vmapi.services.reconciler.recovery import CREATE_RECOVERY_WINDOW
from vmapi.settings.operations import parse_deadlines

NO_RESPONSE = BackendTimeout("no response")
HOUR = timedelta(hours=1)


def test_lost_create_of_a_wrong_clock_fails_within_its_window() -> None:
    harness = ReconcilerHarness.build()
    create = harness.add_create()
    harness.backend.fail("create", NO_RESPONSE)
    with pytest.raises(BackendTimeout):
        harness.start(create)
    harness.clock.sleep(-HOUR.total_seconds())
    assert not harness.reconcile(create).operation.is_finished
    harness.clock.sleep(RESPONSE_TIMEOUT + CREATE_RECOVERY_WINDOW.total_seconds())
    assert not harness.reconcile(create).operation.is_finished
    harness.clock.sleep(1)
    result = harness.reconcile(create)
    assert result.operation.status is OperationStatus.FAILED
    assert isinstance(result.error, BackendTimeout)


def write_with_wrong_clock(harness: ReconcilerHarness, operation: Operation) -> None:
    """Move the times of an operation an hour ahead; the cloud's clock was right."""
    stored = harness.reload(operation)
    assert stored.step is not None
    assert stored.step.started_at is not None
    step = replace(stored.step, started_at=stored.step.started_at + HOUR)
    harness.operations.save(stored.with_step(step))
    created_at = (stored.created_at + HOUR - EPOCH) // MICROSECOND
    with harness.store.database.write() as connection:
        connection.execute(
            text("UPDATE operations SET created_at = :at WHERE id = :id"),
            {"at": created_at, "id": operation.id},
        )


def test_lost_action_of_a_wrong_clock_is_found_and_not_repeated() -> None:
    harness = ReconcilerHarness.build("stop=1")
    vm_id = harness.running_vm()
    stop = harness.add_operation(Action.STOP, vm_id=vm_id)
    harness.backend.fail("perform", NO_RESPONSE, done=True)
    with pytest.raises(BackendTimeout):
        harness.start(stop)
    write_with_wrong_clock(harness, stop)
    assert harness.reconcile(stop).operation.is_awaiting_outcome
    harness.clock.sleep(2)
    assert harness.reconcile(stop).operation.status is OperationStatus.SUCCEEDED
    assert harness.backend.dispatched == {Verb.STOP: 1}


def test_deadline_of_a_wrong_clock_begins_again() -> None:
    harness = ReconcilerHarness.build("stop=3600")
    stop = harness.add_operation(Action.STOP, vm_id=harness.running_vm())
    harness.reconcile(stop)
    write_with_wrong_clock(harness, stop)
    deadline = parse_deadlines("")[Action.STOP].total_seconds()
    assert not harness.reconcile(stop).operation.is_finished
    harness.clock.sleep(deadline)
    assert not harness.reconcile(stop).operation.is_finished
    harness.clock.sleep(1)
    assert harness.reconcile(stop).operation.status is OperationStatus.FAILED


def test_planned_create_of_a_dead_process_fails_at_once() -> None:
    harness = ReconcilerHarness.build()
    create = harness.add_create()
    # a dispatch that has expired was put back to planned, and its process has died
    stored = harness.reload(create).as_dispatching(harness.clock())
    assert stored.step is not None
    harness.operations.save(stored.with_step(replace(stored.step, state=StepState.PLANNED)))
    harness.release(create)
    result = harness.reconcile(create)
    assert result.operation.status is OperationStatus.FAILED
    assert isinstance(result.error, BackendUnavailable)
    assert result.error.detail == "vmapi died before this was sent; send it again."
    assert not harness.backend.dispatched
