"""Evaluate the outcome of an accepted step from the VM and Nova's record of the action."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from vmapi import errors
from vmapi.backends.base import ActionOutcome
from vmapi.domain.lifecycle import TARGET_STATUS_BY_VERB, Action, Status, Verb
from vmapi.domain.operation import Operation, StepState
from vmapi.domain.vm import VM

UNKNOWN_VM_STATE = "UNKNOWN"
"""Nova's status of a server in a cell that is down."""

NON_BUILD_ERROR_CODES = (errors.OperationTimeout.code, errors.BackendLost.code)
"""Errors of a create that leave its VM in another status than ERROR."""


def evaluate_outcome(
    verb: Verb, vm: VM, get_outcome: Callable[[], ActionOutcome]
) -> tuple[ActionOutcome, errors.VmapiError | None]:
    """Return the outcome of a step, and the error of a failed one.

    `get_outcome` reads Nova's record of the action; a create does not use it: the record of a build
    that Nova has retried on another host says success. In a cell that is down every outcome is
    pending.
    """
    if vm.status is Status.ERROR and vm.backend_status == UNKNOWN_VM_STATE:
        return ActionOutcome.PENDING, None
    if verb is Verb.CREATE:
        if vm.status is Status.ERROR:
            return ActionOutcome.FAILED, _fault_error(vm)
        building = vm.status is Status.BUILDING or vm.task is not None
        return (ActionOutcome.PENDING if building else ActionOutcome.SUCCEEDED), None
    if vm.task is not None and verb is not Verb.DELETE:
        return ActionOutcome.PENDING, None
    outcome = get_outcome()
    if outcome is ActionOutcome.FAILED:
        return outcome, _fault_error(vm, f"The cloud accepted the {verb} and could not do it.")
    if (
        outcome is ActionOutcome.SUCCEEDED
        and verb is not Verb.DELETE
        and vm.status is not TARGET_STATUS_BY_VERB[verb]
    ):
        return ActionOutcome.FAILED, _fault_error(vm, f"After the {verb} the VM is {vm.status}.")
    # the end of a delete is that the VM cannot be read
    return (ActionOutcome.PENDING if verb is Verb.DELETE else outcome), None


def is_failed_build(operation: Operation) -> bool:
    """Return whether a create has left a VM in ERROR that has the reason as its fault."""
    if operation.action is not Action.CREATE or operation.vm_id is None or operation.error is None:
        return False
    return (
        operation.steps[0].state is not StepState.DONE
        and operation.error.code not in NON_BUILD_ERROR_CODES
    )


def timeout_error(
    operation: Operation, deadlines: Mapping[Action, timedelta]
) -> errors.OperationTimeout:
    """Return the error of an operation that has passed the deadline of its action."""
    seconds = int(deadlines[operation.action].total_seconds())
    return errors.OperationTimeout(
        f"The {operation.action} did not end within {seconds} seconds. The VM was left as it is."
    )


def _fault_error(vm: VM, default: str = "The VM went to ERROR.") -> errors.VmapiError:
    if vm.status is Status.ERROR and vm.fault is not None:
        cls = errors.error_class(vm.fault.code)
        return cls(vm.fault.message, hint=vm.fault.hint)
    return errors.BackendError(default)
