"""First steps that only who has asked for them may send: each way that they can go."""

from typing import Any

import pytest

from tests.support.reconciler_harness import RESPONSE_TIMEOUT, ReconcilerHarness
from vmapi import errors
from vmapi.domain.caller import IdempotencyKey
from vmapi.domain.identity import CallerToken
from vmapi.domain.lifecycle import Action, Verb
from vmapi.domain.operation import Operation, OperationStatus, StepState
from vmapi.domain.vm import VMPatch
from vmapi.services.reconciler.progress import ReconcileResult
from vmapi.services.reconciler.recovery import ACTION_RECOVERY_WINDOW, CREATE_RECOVERY_WINDOW

ALICE = CallerToken("gAAAAABalice", "p1")
KEY = IdempotencyKey("alice", "k-1", "f")
VERBS = (Verb.CREATE, Verb.STOP, Verb.UPDATE, Verb.DELETE)
LATE = errors.BackendTimeout("late")
DIED = "vmapi died before this was sent; send it again."


def order(desk: ReconcilerHarness, verb: Verb, **more: Any) -> Operation:
    """Keep an operation of one step of this verb, that only who has asked for it may send."""
    more = {"is_delegated": True, "key": KEY, **more}
    if verb is Verb.CREATE:
        return desk.add_create(**more)
    changes = VMPatch("web-2", {"a": "1"}) if verb is Verb.UPDATE else None
    return desk.add_operation(Action(verb), vm_id=desk.running_vm(), patch=changes, **more)


def method(verb: Verb) -> str:
    """Return which method of a backend carries a verb out."""
    return verb.value if verb in (Verb.CREATE, Verb.UPDATE) else "perform"


def lent(desk: ReconcilerHarness, verb: Verb) -> list[CallerToken | None]:
    """Return with which credentials a verb was sent; none but the last were for making the VM."""
    return (
        desk.backend.caller_tokens[-desk.backend.dispatched[verb] :]
        if desk.backend.dispatched[verb]
        else []
    )


def check_failed(
    desk: ReconcilerHarness, progress: ReconcileResult, code: str, detail: str
) -> None:
    """See that an operation has failed so, and that its key is free."""
    operation = desk.reload(progress.operation)
    assert operation.status is OperationStatus.FAILED
    assert operation.error is not None
    assert (operation.error.code, operation.error.detail) == (code, detail)
    assert desk.operations.find_by_key(KEY) is None


@pytest.mark.parametrize("verb", VERBS)
def test_it_is_sent_with_the_credential(verb: Verb) -> None:
    desk = ReconcilerHarness.build()
    operation = order(desk, verb)
    assert desk.reconcile(operation, ALICE).operation.status is OperationStatus.SUCCEEDED
    assert (desk.backend.dispatched, lent(desk, verb)) == ({verb: 1}, [ALICE])


@pytest.mark.parametrize("latency", ["0", "create=1"])
def test_the_steps_after_it_are_vmapis_own(latency: str) -> None:
    desk = ReconcilerHarness.build(latency)
    operation = desk.add_create(Verb.CREATE, Verb.STOP, is_delegated=True)
    desk.reconcile(operation, ALICE)
    desk.clock.sleep(1)
    assert desk.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert desk.backend.caller_tokens == [ALICE, None]


def test_an_operation_that_is_not_personal_is_sent_without_one() -> None:
    desk = ReconcilerHarness.build()
    desk.reconcile(desk.add_create(), ALICE)
    assert desk.backend.caller_tokens == [None]


@pytest.mark.parametrize("verb", VERBS)
def test_what_was_not_sent_when_its_process_died_is_not_sent_by_another(verb: Verb) -> None:
    desk = ReconcilerHarness.build()
    operation = order(desk, verb)
    desk.release(operation)
    check_failed(desk, desk.reconcile_copy(desk.reload(operation)), "backend_unavailable", DIED)
    assert desk.backend.dispatched == {}


@pytest.mark.parametrize("verb", VERBS)
def test_nor_is_what_was_about_to_be_sent(verb: Verb) -> None:
    desk = ReconcilerHarness.build()
    operation = order(desk, verb)
    desk.release(operation)
    desk.operations.save(desk.reload(operation).as_dispatching(desk.clock()))
    check_lost(desk, operation, verb)
    assert desk.backend.dispatched == {}


@pytest.mark.parametrize("verb", VERBS)
def test_a_lost_answer_is_found_again(verb: Verb) -> None:
    desk = ReconcilerHarness.build()
    operation = order(desk, verb)
    desk.backend.fail(method(verb), LATE, done=True)
    with pytest.raises(errors.BackendTimeout):
        desk.reconcile(operation, ALICE)
    assert desk.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert (desk.backend.dispatched, lent(desk, verb)) == ({verb: 1}, [ALICE])


@pytest.mark.parametrize("verb", VERBS)
def test_what_never_arrived_is_not_sent_again(verb: Verb) -> None:
    desk = ReconcilerHarness.build()
    operation = order(desk, verb)
    desk.backend.fail(method(verb), LATE)
    with pytest.raises(errors.BackendTimeout):
        desk.reconcile(operation, ALICE)
    check_lost(desk, operation, verb)
    assert desk.backend.dispatched == {verb: 1}


def check_lost(desk: ReconcilerHarness, operation: Operation, verb: Verb) -> None:
    """See that a step of which nothing is found is given up once nothing is on its way."""
    settle = CREATE_RECOVERY_WINDOW if verb is Verb.CREATE else ACTION_RECOVERY_WINDOW
    desk.clock.sleep(settle.total_seconds() + RESPONSE_TIMEOUT)
    waiting = desk.reconcile(operation)
    assert (waiting.waiting_on_cloud, waiting.operation.steps[0].state) == (
        True,
        StepState.DISPATCHING,
    )
    desk.clock.sleep(0.001)
    said = f"The {verb} never reached the cloud; nothing was changed."
    if verb is Verb.UPDATE:
        said = "The update did not reach the cloud, or in part only; send it again."
    check_failed(desk, desk.reconcile(operation), "backend_timeout", said)


def test_an_update_that_came_through_in_part_is_not_found() -> None:
    desk = ReconcilerHarness.build()
    operation = order(desk, Verb.UPDATE)
    desk.backend.fail("update", LATE)
    with pytest.raises(errors.BackendTimeout):
        desk.reconcile(operation, ALICE)
    desk.backend.update_vm(operation.vm_id or "", VMPatch(name="web-2"))
    assert desk.reconcile(operation).waiting_on_cloud
    desk.backend.update_vm(operation.vm_id or "", VMPatch(metadata={"a": "1"}))
    assert desk.reconcile(operation).operation.status is OperationStatus.SUCCEEDED


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "refusal",
    [
        errors.Unauthenticated("The cloud does not take this token.", credentials_sent=True),
        errors.Forbidden("The cloud refuses: Policy doesn't allow it."),
        errors.BackendUnavailable("The cloud is away."),
    ],
    ids=lambda refusal: refusal.code,
)
def test_a_refusal_ends_it(verb: Verb, refusal: errors.VmapiError) -> None:
    desk = ReconcilerHarness.build()
    operation = order(desk, verb)
    desk.backend.fail(method(verb), refusal)
    check_failed(desk, desk.reconcile(operation, ALICE), refusal.code, refusal.detail)
    assert desk.backend.dispatched == {verb: 1}


def test_a_lost_step_after_it_is_sent_again() -> None:
    desk = ReconcilerHarness.build()
    operation = desk.add_create(Verb.CREATE, Verb.STOP, is_delegated=True)
    desk.backend.fail("perform", LATE)
    with pytest.raises(errors.BackendTimeout):
        desk.reconcile(operation, ALICE)
    desk.clock.sleep(ACTION_RECOVERY_WINDOW.total_seconds() + RESPONSE_TIMEOUT + 0.001)
    assert desk.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert desk.backend.caller_tokens == [ALICE, None, None]


def test_a_vm_that_is_gone_is_no_refusal_of_a_delete_whose_answer_was_lost() -> None:
    desk = ReconcilerHarness.build()
    operation = order(desk, Verb.DELETE)
    desk.backend.fail("perform", LATE)
    with pytest.raises(errors.BackendTimeout):
        desk.reconcile(operation, ALICE)
    desk.backend.cloud.instances.clear()
    desk.backend.fail("find", errors.VMNotFound("gone"))
    assert desk.reconcile(operation).operation.status is OperationStatus.SUCCEEDED
    assert desk.backend.dispatched == {Verb.DELETE: 1}
