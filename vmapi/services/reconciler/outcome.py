"""What has become of a verb, judged from the VM and from the cloud's own record."""

from collections.abc import Callable

from vmapi import errors
from vmapi.backends.base import Outcome
from vmapi.domain.lifecycle import GOALS, Action, Status, Verb
from vmapi.domain.operation import Operation, StepState
from vmapi.domain.vm import VM

UNKNOWN = "UNKNOWN"
"""What the cloud says of a VM whose cell is down."""

NO_BUILD = (errors.OperationTimeout.code, errors.BackendLost.code)
"""How a create may fail whose VM did not go to ERROR."""


def judge(
    verb: Verb, vm: VM, outcome: Callable[[], Outcome]
) -> tuple[Outcome, errors.VmapiError | None]:
    """Tell what has become of a verb from the VM, and from the cloud's record where that decides.

    A create is judged by status, task and fault: the record of a build that was tried again on
    another host says success. While a VM's cell is down nothing is told of it that counts.
    """
    if vm.status is Status.ERROR and vm.backend_status == UNKNOWN:
        return Outcome.PENDING, None
    if verb is Verb.CREATE:
        if vm.status is Status.ERROR:
            return Outcome.FAILED, _fault(vm)
        building = vm.status is Status.BUILDING or vm.task is not None
        return (Outcome.PENDING if building else Outcome.SUCCEEDED), None
    if vm.task is not None and verb is not Verb.DELETE:
        return Outcome.PENDING, None
    found = outcome()
    if found is Outcome.FAILED:
        return found, _fault(vm, f"The cloud took the {verb} on and could not do it.")
    if found is Outcome.SUCCEEDED and verb is not Verb.DELETE and vm.status is not GOALS[verb]:
        return Outcome.FAILED, _fault(vm, f"After the {verb} the VM is {vm.status}.")
    # a deleted VM is gone: one that can be read is not there yet
    return (Outcome.PENDING if verb is Verb.DELETE else found), None


def has_failed_to_build(operation: Operation) -> bool:
    """Tell whether an operation has left a VM in ERROR that says itself what was wrong."""
    if operation.action is not Action.CREATE or operation.vm_id is None or operation.error is None:
        return False
    return operation.plan[0].state is not StepState.DONE and operation.error.code not in NO_BUILD


def _fault(vm: VM, otherwise: str = "The VM went to ERROR.") -> errors.VmapiError:
    if vm.status is Status.ERROR and vm.fault is not None:
        cls = errors.by_code(vm.fault.code)
        return cls(vm.fault.message, hint=vm.fault.hint)
    return errors.BackendError(otherwise)
