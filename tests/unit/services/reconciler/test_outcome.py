"""The outcome of a verb, from the VM and the action record of the cloud."""

from dataclasses import replace

import pytest

from tests.support.factories import VM_1
from vmapi import errors
from vmapi.backends.base import ActionOutcome
from vmapi.domain.lifecycle import TARGET_STATUS_BY_VERB, Status, Task, Verb
from vmapi.domain.vm import VM, Fault
from vmapi.services.reconciler.outcome import evaluate_outcome

PENDING, SUCCEEDED, FAILED = ActionOutcome.PENDING, ActionOutcome.SUCCEEDED, ActionOutcome.FAILED
FAULT = Fault("no_capacity", "No valid host was found.", "Try later.")
FAILED_VM = replace(VM_1, status=Status.ERROR, fault=FAULT)


def vm_with(status: str, task: str | None = None) -> VM:
    return replace(VM_1, status=Status(status), task=Task(task) if task else None)


def unexpected_call() -> ActionOutcome:
    raise AssertionError("the action record of the cloud does not decide this outcome")


@pytest.mark.parametrize(
    ("observed_vm", "outcome"),
    [
        (vm_with("BUILDING", "creating"), PENDING),
        (vm_with("BUILDING"), PENDING),
        (vm_with("RUNNING", "creating"), PENDING),
        (vm_with("RUNNING", "other"), PENDING),
        (vm_with("RUNNING"), SUCCEEDED),
        (vm_with("STOPPED"), SUCCEEDED),
    ],
)
def test_create_outcome_depends_on_the_vm(observed_vm: VM, outcome: ActionOutcome) -> None:
    assert evaluate_outcome(Verb.CREATE, observed_vm, unexpected_call) == (outcome, None)


def test_failed_create_reports_the_fault_of_the_vm() -> None:
    outcome, error = evaluate_outcome(
        Verb.CREATE, replace(FAILED_VM, task=Task.CREATING), unexpected_call
    )
    assert outcome is FAILED
    assert type(error) is errors.NoCapacity
    assert (error.detail, error.extra) == (FAULT.message, {"hint": FAULT.hint})


def test_status_error_without_a_fault_is_a_backend_error() -> None:
    outcome, error = evaluate_outcome(Verb.CREATE, vm_with("ERROR"), unexpected_call)
    assert (outcome, type(error)) == (FAILED, errors.BackendError)
    assert error is not None
    assert error.detail == "The VM went to ERROR."


def test_fault_of_an_unknown_code_is_a_backend_error() -> None:
    vm_with_unknown_code = replace(FAILED_VM, fault=replace(FAULT, code="meteor"))
    assert (
        type(evaluate_outcome(Verb.CREATE, vm_with_unknown_code, unexpected_call)[1])
        is errors.BackendError
    )


@pytest.mark.parametrize(
    "verb", [verb for verb in TARGET_STATUS_BY_VERB if verb is not Verb.DELETE]
)
def test_action_on_a_vm_with_a_task_is_pending(verb: Verb) -> None:
    for status in Status:
        assert evaluate_outcome(verb, vm_with(status, "other"), unexpected_call) == (PENDING, None)


@pytest.mark.parametrize(
    ("verb", "target_status"),
    [item for item in TARGET_STATUS_BY_VERB.items() if item[0] is not Verb.DELETE],
)
def test_action_outcome_depends_on_the_record_and_then_on_the_status(
    verb: Verb, target_status: Status
) -> None:
    assert evaluate_outcome(verb, vm_with(target_status), lambda: SUCCEEDED) == (SUCCEEDED, None)
    for status in Status:
        assert evaluate_outcome(verb, vm_with(status), lambda: PENDING) == (PENDING, None)
        outcome, error = evaluate_outcome(verb, vm_with(status), lambda: FAILED)
        assert (outcome, type(error)) == (FAILED, errors.BackendError)
        if status is not target_status:
            outcome, error = evaluate_outcome(verb, vm_with(status), lambda: SUCCEEDED)
            assert error is not None
            assert (outcome, type(error)) == (FAILED, errors.BackendError)
            assert error.detail == f"After the {verb} the VM is {status}."


def test_action_that_leaves_a_vm_in_error_reports_its_fault() -> None:
    for recorded in (SUCCEEDED, FAILED):
        outcome, error = evaluate_outcome(
            Verb.RESTART_SOFT, FAILED_VM, lambda recorded=recorded: recorded
        )
        assert (outcome, type(error)) == (FAILED, errors.NoCapacity)


@pytest.mark.parametrize("task", [None, "deleting", "stopping"])
@pytest.mark.parametrize(
    ("recorded", "outcome"), [(PENDING, PENDING), (SUCCEEDED, PENDING), (FAILED, FAILED)]
)
def test_delete_is_pending_while_the_vm_exists(
    task: str | None, recorded: ActionOutcome, outcome: ActionOutcome
) -> None:
    for status in Status:
        assert evaluate_outcome(Verb.DELETE, vm_with(status, task), lambda: recorded)[0] is outcome
