"""Reconciling operations that miss their deadline."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.support.operation_steps import add_single_step, check_failed
from tests.support.reconciler_harness import RESPONSE_TIMEOUT, ReconcilerHarness
from vmapi import errors
from vmapi.domain.access.caller import IdempotencyKey
from vmapi.domain.lifecycle import Verb
from vmapi.domain.operation import OperationStatus
from vmapi.services.reconciler.recovery import CREATE_RECOVERY_WINDOW

TRANSIENT_ERRORS = [
    errors.BackendUnavailable("unavailable"),
    errors.BackendTimeout("late"),
    errors.BackendError("broken"),
]
DEADLINE_SECONDS = {Verb.CREATE: 1800, Verb.STOP: 600, Verb.DELETE: 600}
CREATE_RECOVERY_SECONDS = CREATE_RECOVERY_WINDOW.total_seconds() + RESPONSE_TIMEOUT


@pytest.mark.parametrize("verb", [Verb.CREATE, Verb.STOP, Verb.DELETE])
def test_deadline_fails_the_operation_and_leaves_the_vm(verb: Verb) -> None:
    harness = ReconcilerHarness.build("create=0,stop=3600,delete=3600")
    if verb is Verb.CREATE:
        harness = ReconcilerHarness.build("create=3600")
    operation = add_single_step(harness, verb)
    vm_id = harness.reconcile(operation).operation.vm_id
    assert vm_id is not None
    harness.clock.sleep(DEADLINE_SECONDS[verb])
    assert harness.reconcile(operation).waiting_on_cloud
    harness.clock.sleep(0.001)
    progress = harness.reconcile(operation)
    check_failed(progress, "operation_timeout")
    assert isinstance(progress.error, errors.OperationTimeout)
    assert progress.error.detail == (
        f"The {verb} did not end within {DEADLINE_SECONDS[verb]} seconds. The VM was left as it is."
    )
    assert harness.backend.dispatched == {verb: 1}
    assert harness.backend.get_vm(vm_id).id == vm_id


@pytest.mark.parametrize("verb", [Verb.CREATE, Verb.STOP])
def test_step_finished_before_the_deadline_succeeds_when_observed_late(verb: Verb) -> None:
    harness = (
        ReconcilerHarness.build("stop=1")
        if verb is Verb.STOP
        else ReconcilerHarness.build("create=1")
    )
    operation = add_single_step(harness, verb)
    assert harness.reconcile(operation).waiting_on_cloud
    harness.clock.sleep(2 * DEADLINE_SECONDS[verb])
    assert harness.reconcile(operation).operation.status is OperationStatus.SUCCEEDED


def test_planned_step_is_not_dispatched_after_the_deadline() -> None:
    harness = ReconcilerHarness.build()
    operation = add_single_step(harness, Verb.STOP)
    harness.clock.sleep(DEADLINE_SECONDS[Verb.STOP] + 1)
    check_failed(harness.reconcile(operation), "operation_timeout")
    assert not harness.backend.dispatched


@pytest.mark.parametrize("error", TRANSIENT_ERRORS)
def test_unavailable_cloud_at_the_deadline_fails_the_operation(error: errors.VmapiError) -> None:
    harness = ReconcilerHarness.build("stop=1")
    operation = add_single_step(harness, Verb.STOP)
    harness.reconcile(operation)
    harness.clock.sleep(DEADLINE_SECONDS[Verb.STOP] + 1)
    harness.backend.fail("get", error)
    check_failed(harness.reconcile(operation), "operation_timeout")


def test_deadline_does_not_fail_a_create_within_its_recovery_window() -> None:
    harness = ReconcilerHarness.build()
    operation = harness.add_create(key=IdempotencyKey("me", "k", "f"))
    operation = replace(operation, created_at=harness.clock() - timedelta(days=1))
    harness.backend.fail("create", errors.BackendTimeout("late"))
    with pytest.raises(errors.BackendTimeout):
        harness.reconcile_copy(replace(operation, created_at=harness.clock()))
    overdue = replace(harness.reload(operation), created_at=operation.created_at)
    assert harness.reconcile_copy(overdue).waiting_on_cloud
    harness.clock.sleep(CREATE_RECOVERY_SECONDS + 1)
    harness.backend.fail("find", errors.BackendUnavailable("unavailable"))
    progress = harness.reconcile_copy(overdue)
    check_failed(progress, "operation_timeout")
    # the create may have made a VM: a repeated request must not make another one
    assert progress.operation.key is not None
