"""Operators retry and end operations, while the reconciler works on them."""

import re
from datetime import timedelta
from typing import Any

import pytest

from tests.support.audit_chain import list_rows
from tests.support.reconciler_harness import RESPONSE_TIMEOUT, ReconcilerHarness
from vmapi import errors
from vmapi.domain.access.caller import IdempotencyKey
from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import Operation, OperationReport, OperationStatus, StepState
from vmapi.domain.timestamps import format_rfc3339
from vmapi.services.operations.administrator import OperationAdministrator
from vmapi.services.reconciler.recovery import ACTION_RECOVERY_WINDOW, CREATE_RECOVERY_WINDOW

KEY = IdempotencyKey("me", "k-1", "f" * 64)
TIMEOUT = timedelta(seconds=RESPONSE_TIMEOUT)


class AdministratorHarness:
    """An operator and a reconciler on one store."""

    def __init__(self, latency: str = "create=0,*=60") -> None:
        self.base = ReconcilerHarness.build(latency)
        self.administrator = OperationAdministrator(
            self.base.store, self.base.clock, RESPONSE_TIMEOUT
        )

    def fail(self, operation: Operation) -> Operation:
        return self.administrator.fail(operation.id, "stuck.", "cli:me")

    def get_error(self, call: Any, *args: object) -> str:
        with pytest.raises(errors.VmapiError) as raised:
            call(*args)
        return raised.value.detail

    def start_stop(self, **fields: Any) -> Operation:
        """Return a stop that the cloud has accepted."""
        vm_id = self.base.running_vm()
        return self.base.start(
            self.base.add_operation(Action.STOP, vm_id=vm_id, **fields)
        ).operation

    def lose_response(self, operation: Operation) -> Operation:
        """Dispatch an operation; its call takes effect, and the response is lost."""
        method = "create" if operation.action is Action.CREATE else "perform"
        self.base.backend.fail(method, errors.BackendTimeout("late"), done=True)
        with pytest.raises(errors.BackendTimeout):
            self.base.start(operation)
        return self.base.reload(operation)


def test_accepted_operation_ends_and_its_vm_is_free() -> None:
    harness = AdministratorHarness()
    stop = harness.start_stop(key=KEY)
    failed = harness.fail(stop)
    assert failed.status is OperationStatus.FAILED
    assert failed.error is not None
    assert (failed.error.code, failed.error.detail) == (
        "operation_timeout",
        "The operator ended the stop: stuck. The cloud may still complete it.",
    )
    # a repeat gets this outcome: the cloud has the call
    assert failed.key == KEY
    assert harness.base.reload(stop) == failed
    # an engine that has read the operation before sees its success, and saves nothing
    harness.base.clock.sleep(60)
    assert harness.base.reconcile_copy(stop).operation == failed
    harness.base.add_operation(Action.STOP, vm_id=stop.vm_id)
    rows = list_rows(harness.base.store.database)
    (act,) = [row for row in rows if row.action == "operation_fail"]
    assert (act.user, act.operation_id, act.reason) == ("cli:me", stop.id, "stuck.")


def test_planned_operation_ends_and_is_never_sent() -> None:
    harness = AdministratorHarness("0")
    vm_id = harness.base.running_vm()
    stop = harness.base.add_operation(Action.STOP, vm_id=vm_id, key=KEY)
    failed = harness.fail(stop)
    assert failed.error is not None
    assert failed.error.detail == "The operator ended the stop: stuck."
    # nothing was sent: the client may use its key again
    assert failed.key is None
    assert harness.base.reconcile_copy(stop).operation == failed
    assert not harness.base.backend.dispatched


@pytest.mark.parametrize("action", [Action.STOP, Action.CREATE])
def test_call_that_may_still_take_effect_cannot_be_ended(action: Action) -> None:
    harness = AdministratorHarness()
    window = CREATE_RECOVERY_WINDOW if action is Action.CREATE else ACTION_RECOVERY_WINDOW
    if action is Action.CREATE:
        operation = harness.lose_response(harness.base.add_create(key=KEY))
    else:
        vm_id = harness.base.running_vm()
        added = harness.base.add_operation(Action.STOP, vm_id=vm_id, key=KEY)
        operation = harness.lose_response(added)
    harness.base.clock.sleep((TIMEOUT + window).total_seconds())
    detail = harness.get_error(harness.fail, operation)
    assert re.fullmatch(
        rf"The {action} was sent at \S+Z, without a response yet, and may take effect until "
        r"\S+Z\. Repeat the command after that time\.",
        detail,
    )
    assert harness.base.reload(operation) == operation
    harness.base.clock.sleep(1)
    # the outcome stays unknown: a repeat under the key must not be sent
    assert harness.fail(operation).key == KEY


def test_late_create_belongs_to_its_ended_operation() -> None:
    harness = AdministratorHarness()
    added = harness.base.add_create(key=KEY, reserved_name="web-1")
    create = harness.lose_response(added)
    harness.base.clock.sleep((TIMEOUT + CREATE_RECOVERY_WINDOW).total_seconds() + 1)
    assert harness.fail(create).vm_id is None
    harness.base.observer.full_sync()
    window = harness.base.create_window()
    assert harness.base.store.inventory.list_duplicates(window) == []
    adopted = harness.base.reload(create)
    assert (adopted.vm_id is not None, adopted.key) == (True, KEY)


def test_step_from_a_wrong_clock_cannot_be_ended() -> None:
    harness = AdministratorHarness()
    vm_id = harness.base.running_vm()
    operation = harness.lose_response(harness.base.add_operation(Action.STOP, vm_id=vm_id))
    harness.base.clock.sleep(-86_400)
    detail = harness.get_error(harness.fail, operation)
    assert detail.startswith("The stop has a time in the future: ")


@pytest.mark.parametrize(
    ("status", "key", "advice"),
    [
        (OperationStatus.SUCCEEDED, None, "Nothing is left to do."),
        (OperationStatus.SUPERSEDED, None, "A delete of its VM has replaced it."),
        (
            OperationStatus.FAILED,
            None,
            "The client can send the change again, with the same or a new Idempotency-Key.",
        ),
        (
            OperationStatus.FAILED,
            KEY,
            "The client can send the change again, with a new Idempotency-Key.",
        ),
    ],
)
def test_finished_operation_is_neither_retried_nor_ended(
    status: OperationStatus, key: IdempotencyKey | None, advice: str
) -> None:
    harness = AdministratorHarness("0")
    vm_id = harness.base.running_vm()
    operation = harness.base.add_operation(Action.STOP, vm_id=vm_id, key=key)
    finished = harness.base.save_finished(operation, status)
    rows = len(list_rows(harness.base.store.database))
    for call in (harness.administrator.retry, harness.administrator.fail):
        args = (operation.id, "stuck", "cli:me")[: 2 if call == harness.administrator.retry else 3]
        finished_at = format_rfc3339(harness.base.clock())
        assert harness.get_error(call, *args) == (
            f"Operation {operation.id} is finished: {status} at {finished_at}. vmapi never sends a "
            f"finished operation again. {advice}"
        )
    assert harness.base.reload(operation) == finished
    assert len(list_rows(harness.base.store.database)) == rows
    assert not harness.base.backend.dispatched


def test_end_repeats_its_attempt_after_an_engine_has_saved() -> None:
    harness = AdministratorHarness()
    stop = harness.start_stop()
    administration = harness.base.store.operation_administration
    end, conflicts = administration.end, []

    def end_later(failed: Operation, entry: Any) -> Operation:
        if not conflicts:
            conflicts.append(harness.base.operations.save(harness.base.reload(stop)))
        return end(failed, entry)

    administration.end = end_later
    assert harness.fail(stop).status is OperationStatus.FAILED
    assert len(conflicts) == 1


def test_retry_is_recorded_and_sends_nothing() -> None:
    harness = AdministratorHarness()
    stop = harness.start_stop()
    harness.base.backend.dispatched.clear()
    report = harness.administrator.retry(stop.id, "cli:me")
    assert isinstance(report, OperationReport)
    assert harness.base.reload(stop).retry_requested_at == harness.base.clock()
    assert harness.base.reload(stop).revision == stop.revision
    step = harness.base.reconcile(stop).operation.step
    assert step is not None
    assert (step.state, harness.base.backend.dispatched) == (StepState.ACCEPTED, {})


def test_unknown_operation_is_not_found() -> None:
    harness = AdministratorHarness()
    for call, args in (
        (harness.administrator.retry, ("x", "cli:me")),
        (harness.administrator.fail, ("x", "stuck", "cli:me")),
    ):
        assert harness.get_error(call, *args) == "There is no operation x."
