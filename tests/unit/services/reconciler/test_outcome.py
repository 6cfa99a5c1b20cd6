"""What has become of a verb: each verdict, from the VM and the cloud's record."""

from dataclasses import replace

import pytest

from tests.support.factories import VM_1
from vmapi import errors
from vmapi.backends.base import ActionOutcome
from vmapi.domain.lifecycle import TARGET_STATUS_BY_VERB, Status, Task, Verb
from vmapi.domain.vm import VM, Fault
from vmapi.services.reconciler.outcome import evaluate_outcome

P, S, F = ActionOutcome.PENDING, ActionOutcome.SUCCEEDED, ActionOutcome.FAILED
FAULT = Fault("no_capacity", "No valid host was found.", "Try later.")
BROKEN = replace(VM_1, status=Status.ERROR, fault=FAULT)


def vm(status: str, task: str | None = None) -> VM:
    return replace(VM_1, status=Status(status), task=Task(task) if task else None)


def never() -> ActionOutcome:
    raise AssertionError("the cloud's record does not decide this")


@pytest.mark.parametrize(
    ("seen", "outcome"),
    [
        (vm("BUILDING", "creating"), P),
        (vm("BUILDING"), P),
        (vm("RUNNING", "creating"), P),
        (vm("RUNNING", "other"), P),
        (vm("RUNNING"), S),
        (vm("STOPPED"), S),
    ],
)
def test_a_create_is_judged_by_the_vm(seen: VM, outcome: ActionOutcome) -> None:
    assert evaluate_outcome(Verb.CREATE, seen, never) == (outcome, None)


def test_a_create_that_failed_says_why() -> None:
    outcome, error = evaluate_outcome(Verb.CREATE, replace(BROKEN, task=Task.CREATING), never)
    assert outcome is F
    assert type(error) is errors.NoCapacity
    assert (error.detail, error.extra) == (FAULT.message, {"hint": FAULT.hint})


def test_an_error_without_a_fault() -> None:
    outcome, error = evaluate_outcome(Verb.CREATE, vm("ERROR"), never)
    assert (outcome, type(error)) == (F, errors.BackendError)
    assert error is not None
    assert error.detail == "The VM went to ERROR."


def test_a_fault_of_an_unknown_code_is_a_backend_error() -> None:
    strange = replace(BROKEN, fault=replace(FAULT, code="meteor"))
    assert type(evaluate_outcome(Verb.CREATE, strange, never)[1]) is errors.BackendError


@pytest.mark.parametrize(
    "verb", [verb for verb in TARGET_STATUS_BY_VERB if verb is not Verb.DELETE]
)
def test_an_action_with_a_task_is_not_over(verb: Verb) -> None:
    for status in Status:
        assert evaluate_outcome(verb, vm(status, "other"), never) == (P, None)


@pytest.mark.parametrize(
    ("verb", "goal"), [x for x in TARGET_STATUS_BY_VERB.items() if x[0] is not Verb.DELETE]
)
def test_an_action_is_judged_by_the_record_and_then_by_the_status(verb: Verb, goal: Status) -> None:
    assert evaluate_outcome(verb, vm(goal), lambda: S) == (S, None)
    for status in Status:
        assert evaluate_outcome(verb, vm(status), lambda: P) == (P, None)
        outcome, error = evaluate_outcome(verb, vm(status), lambda: F)
        assert (outcome, type(error)) == (F, errors.BackendError)
        if status is not goal:
            outcome, error = evaluate_outcome(verb, vm(status), lambda: S)
            assert error is not None
            assert (outcome, type(error)) == (F, errors.BackendError)
            assert error.detail == f"After the {verb} the VM is {status}."


def test_an_action_that_broke_the_vm_shows_its_fault() -> None:
    for found in (S, F):
        outcome, error = evaluate_outcome(Verb.RESTART_SOFT, BROKEN, lambda found=found: found)
        assert (outcome, type(error)) == (F, errors.NoCapacity)


@pytest.mark.parametrize("task", [None, "deleting", "stopping"])
@pytest.mark.parametrize(("found", "outcome"), [(P, P), (S, P), (F, F)])
def test_a_delete_is_not_over_while_the_vm_can_be_seen(
    task: str | None, found: ActionOutcome, outcome: ActionOutcome
) -> None:
    for status in Status:
        assert evaluate_outcome(Verb.DELETE, vm(status, task), lambda: found)[0] is outcome
