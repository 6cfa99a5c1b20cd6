"""What has become of a verb, judged from the VM and from the cloud's own record."""

from collections.abc import Callable

from vmapi import errors
from vmapi.backends.base import ActionOutcome
from vmapi.domain.lifecycle import TARGET_STATUS_BY_VERB, Action, Status, Verb
from vmapi.domain.operation import Operation, StepState
from vmapi.domain.vm import VM

UNKNOWN_VM_STATE = "UNKNOWN"
"""What the cloud says of a VM whose cell is down."""

NON_BUILD_ERROR_CODES = (errors.OperationTimeout.code, errors.BackendLost.code)
"""How a create may fail whose VM did not go to ERROR."""


def evaluate_outcome(
    verb: Verb, vm: VM, get_outcome: Callable[[], ActionOutcome]
) -> tuple[ActionOutcome, errors.VmapiError | None]:
    """Tell what has become of a verb from the VM, and from the cloud's record where that decides.

    A create is judged by status, task and fault: the record of a build that was tried again on
    another host says success. While a VM's cell is down nothing is told of it that counts.
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
    found = get_outcome()
    if found is ActionOutcome.FAILED:
        return found, _fault_error(vm, f"The cloud took the {verb} on and could not do it.")
    if (
        found is ActionOutcome.SUCCEEDED
        and verb is not Verb.DELETE
        and vm.status is not TARGET_STATUS_BY_VERB[verb]
    ):
        return ActionOutcome.FAILED, _fault_error(vm, f"After the {verb} the VM is {vm.status}.")
    # a deleted VM is gone: one that can be read is not there yet
    return (ActionOutcome.PENDING if verb is Verb.DELETE else found), None


def is_failed_build(operation: Operation) -> bool:
    """Tell whether an operation has left a VM in ERROR that says itself what was wrong."""
    if operation.action is not Action.CREATE or operation.vm_id is None or operation.error is None:
        return False
    return (
        operation.steps[0].state is not StepState.DONE
        and operation.error.code not in NON_BUILD_ERROR_CODES
    )


def _fault_error(vm: VM, default: str = "The VM went to ERROR.") -> errors.VmapiError:
    if vm.status is Status.ERROR and vm.fault is not None:
        cls = errors.error_class(vm.fault.code)
        return cls(vm.fault.message, hint=vm.fault.hint)
    return errors.BackendError(default)
