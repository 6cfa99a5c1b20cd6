"""Delegated operations: every outcome of a first step with the caller's token."""

from typing import Any

import pytest

from tests.support.memory_cloud import remove_instances
from tests.support.reconciler_harness import RESPONSE_TIMEOUT, ReconcilerHarness
from vmapi import errors
from vmapi.domain.access.caller import IdempotencyKey
from vmapi.domain.access.identity import CallerToken
from vmapi.domain.lifecycle import Action, Verb
from vmapi.domain.operation import Operation, OperationStatus, StepState
from vmapi.domain.vm import VMPatch
from vmapi.services.reconciler.progress import ReconcileResult
from vmapi.services.reconciler.recovery import ACTION_RECOVERY_WINDOW, CREATE_RECOVERY_WINDOW

ALICE = CallerToken("gAAAAABalice", "p1")
KEY = IdempotencyKey("alice", "k-1", "f")
VERBS = (Verb.CREATE, Verb.STOP, Verb.UPDATE, Verb.DELETE)
RESPONSE_LOST = errors.BackendTimeout("late")
UNDISPATCHED_DETAIL = "vmapi died before this was sent; send it again."


def add_delegated(harness: ReconcilerHarness, verb: Verb, **fields: Any) -> Operation:
    """Insert a delegated operation with one step of this verb."""
    fields = {"is_delegated": True, "key": KEY, **fields}
    if verb is Verb.CREATE:
        return harness.add_create(**fields)
    patch = VMPatch("web-2", {"a": "1"}) if verb is Verb.UPDATE else None
    return harness.add_operation(Action(verb), vm_id=harness.running_vm(), patch=patch, **fields)


def scripted_method(verb: Verb) -> str:
    """Return the name under which the scripted backend runs a verb."""
    return verb.value if verb in (Verb.CREATE, Verb.UPDATE) else "perform"


def caller_tokens_of(harness: ReconcilerHarness, verb: Verb) -> list[CallerToken | None]:
    """Return the caller tokens of the calls of a verb, without the create of its VM."""
    return (
        harness.backend.caller_tokens[-harness.backend.dispatched[verb] :]
        if harness.backend.dispatched[verb]
        else []
    )


def check_failed(
    harness: ReconcilerHarness, progress: ReconcileResult, code: str, detail: str
) -> None:
    """Check that an operation failed with this error, and that its key is free."""
    operation = harness.reload(progress.operation)
    assert operation.status is OperationStatus.FAILED
    assert operation.error is not None
    assert (operation.error.code, operation.error.detail) == (code, detail)
    assert harness.operations.find_by_key(KEY) is None


@pytest.mark.parametrize("verb", VERBS)
def test_first_step_is_dispatched_with_the_caller_token(verb: Verb) -> None:
    harness = ReconcilerHarness.build()
    operation = add_delegated(harness, verb)
    assert harness.reconcile(operation, ALICE).operation.status is OperationStatus.SUCCEEDED
    assert (harness.backend.dispatched, caller_tokens_of(harness, verb)) == ({verb: 1}, [ALICE])


@pytest.mark.parametrize("latency", ["0", "create=1"])
def test_later_steps_are_dispatched_without_a_caller_token(latency: str) -> None:
    harness = ReconcilerHarness.build(latency)
    operation = harness.add_create(Verb.CREATE, Verb.STOP, is_delegated=True)
    harness.reconcile(operation, ALICE)
    harness.clock.sleep(1)
    assert harness.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert harness.backend.caller_tokens == [ALICE, None]


def test_operation_that_is_not_delegated_ignores_the_caller_token() -> None:
    harness = ReconcilerHarness.build()
    harness.reconcile(harness.add_create(), ALICE)
    assert harness.backend.caller_tokens == [None]


@pytest.mark.parametrize("verb", VERBS)
def test_planned_step_of_a_dead_process_is_not_dispatched(verb: Verb) -> None:
    harness = ReconcilerHarness.build()
    operation = add_delegated(harness, verb)
    harness.release(operation)
    check_failed(
        harness,
        harness.reconcile_copy(harness.reload(operation)),
        "backend_unavailable",
        UNDISPATCHED_DETAIL,
    )
    assert harness.backend.dispatched == {}


@pytest.mark.parametrize("verb", VERBS)
def test_dispatching_step_of_a_dead_process_is_not_dispatched_again(verb: Verb) -> None:
    harness = ReconcilerHarness.build()
    operation = add_delegated(harness, verb)
    harness.release(operation)
    harness.operations.save(harness.reload(operation).as_dispatching(harness.clock()))
    check_lost(harness, operation, verb)
    assert harness.backend.dispatched == {}


@pytest.mark.parametrize("verb", VERBS)
def test_lost_response_is_recovered(verb: Verb) -> None:
    harness = ReconcilerHarness.build()
    operation = add_delegated(harness, verb)
    harness.backend.fail(scripted_method(verb), RESPONSE_LOST, done=True)
    with pytest.raises(errors.BackendTimeout):
        harness.reconcile(operation, ALICE)
    assert harness.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert (harness.backend.dispatched, caller_tokens_of(harness, verb)) == ({verb: 1}, [ALICE])


@pytest.mark.parametrize("verb", VERBS)
def test_step_that_never_arrived_is_not_dispatched_again(verb: Verb) -> None:
    harness = ReconcilerHarness.build()
    operation = add_delegated(harness, verb)
    harness.backend.fail(scripted_method(verb), RESPONSE_LOST)
    with pytest.raises(errors.BackendTimeout):
        harness.reconcile(operation, ALICE)
    check_lost(harness, operation, verb)
    assert harness.backend.dispatched == {verb: 1}


def check_lost(harness: ReconcilerHarness, operation: Operation, verb: Verb) -> None:
    """Check that a step without a trace in the cloud fails after the recovery window."""
    recovery_window = CREATE_RECOVERY_WINDOW if verb is Verb.CREATE else ACTION_RECOVERY_WINDOW
    harness.clock.sleep(recovery_window.total_seconds() + RESPONSE_TIMEOUT)
    waiting = harness.reconcile(operation)
    assert (waiting.waiting_on_cloud, waiting.operation.steps[0].state) == (
        True,
        StepState.DISPATCHING,
    )
    harness.clock.sleep(0.001)
    detail = f"The {verb} never reached the cloud; nothing was changed."
    if verb is Verb.UPDATE:
        detail = "The update did not reach the cloud, or in part only; send it again."
    check_failed(harness, harness.reconcile(operation), "backend_timeout", detail)


def test_partially_applied_update_is_not_recovered_as_complete() -> None:
    harness = ReconcilerHarness.build()
    operation = add_delegated(harness, Verb.UPDATE)
    harness.backend.fail("update", RESPONSE_LOST)
    with pytest.raises(errors.BackendTimeout):
        harness.reconcile(operation, ALICE)
    harness.backend.update_vm(operation.vm_id or "", VMPatch(name="web-2"))
    assert harness.reconcile(operation).waiting_on_cloud
    harness.backend.update_vm(operation.vm_id or "", VMPatch(metadata={"a": "1"}))
    assert harness.reconcile(operation).operation.status is OperationStatus.SUCCEEDED


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "refusal",
    [
        errors.Unauthenticated("The cloud does not take this token.", credentials_sent=True),
        errors.Forbidden("The cloud refuses: Policy doesn't allow it."),
        errors.BackendUnavailable("The cloud is unavailable."),
    ],
    ids=lambda refusal: refusal.code,
)
def test_refusal_fails_the_operation(verb: Verb, refusal: errors.VmapiError) -> None:
    harness = ReconcilerHarness.build()
    operation = add_delegated(harness, verb)
    harness.backend.fail(scripted_method(verb), refusal)
    check_failed(harness, harness.reconcile(operation, ALICE), refusal.code, refusal.detail)
    assert harness.backend.dispatched == {verb: 1}


def test_lost_later_step_is_dispatched_again() -> None:
    harness = ReconcilerHarness.build()
    operation = harness.add_create(Verb.CREATE, Verb.STOP, is_delegated=True)
    harness.backend.fail("perform", RESPONSE_LOST)
    with pytest.raises(errors.BackendTimeout):
        harness.reconcile(operation, ALICE)
    harness.clock.sleep(ACTION_RECOVERY_WINDOW.total_seconds() + RESPONSE_TIMEOUT + 0.001)
    assert harness.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert harness.backend.caller_tokens == [ALICE, None, None]


def test_lost_delete_of_a_missing_vm_succeeds() -> None:
    harness = ReconcilerHarness.build()
    operation = add_delegated(harness, Verb.DELETE)
    harness.backend.fail("perform", RESPONSE_LOST)
    with pytest.raises(errors.BackendTimeout):
        harness.reconcile(operation, ALICE)
    remove_instances(harness.backend.cloud)
    harness.backend.fail("find", errors.VMNotFound("gone"))
    assert harness.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert harness.backend.dispatched == {Verb.DELETE: 1}
