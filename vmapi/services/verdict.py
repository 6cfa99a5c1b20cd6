"""What has become of a verb, judged from the VM and from the cloud's own record."""

from collections.abc import Callable

from vmapi import errors
from vmapi.backends.base import Outcome
from vmapi.models.lifecycle import GOALS, Status, Verb
from vmapi.models.vm import VM


def judge(
    verb: Verb, vm: VM, outcome: Callable[[], Outcome]
) -> tuple[Outcome, errors.VmapiError | None]:
    """Tell what has become of a verb from the VM, and from the cloud's record where that decides.

    A create is judged by status, task and fault: the record of a build that was tried again on
    another host says success.
    """
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


def _fault(vm: VM, otherwise: str = "The VM went to ERROR.") -> errors.VmapiError:
    if vm.status is Status.ERROR and vm.fault is not None:
        cls = errors.by_code(vm.fault.code)
        return cls(vm.fault.message, hint=vm.fault.hint)
    return errors.BackendError(otherwise)
