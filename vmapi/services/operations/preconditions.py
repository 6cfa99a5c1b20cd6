"""Check the preconditions of a change against the VM, and plan its steps. Pure functions."""

from vmapi.domain.access.caller import KEY_REUSED_DETAIL, IdempotencyKey
from vmapi.domain.lifecycle import TRANSITIONS, Action, Status, Verb, statuses_allowing
from vmapi.domain.metadata import MAX_METADATA_PAIRS
from vmapi.domain.operation import Step
from vmapi.domain.snapshot import VMSnapshot
from vmapi.domain.vm import VM, VMPatch
from vmapi.errors import (
    IdempotencyKeyReused,
    InvalidState,
    PreconditionFailed,
    TaskInProgress,
    ValidationFailed,
    VmapiError,
    VMLocked,
)


def plan_steps(vm: VM, action: Action, *, hard: bool | None = None) -> tuple[Step, ...]:
    """Return the steps of an action on a VM; `hard` is for a restart.

    The cloud checks again: these checks give the client a clear error without a request to it.
    Raises VMLocked, TaskInProgress, InvalidState.
    """
    if vm.locked:
        raise with_vm_state(VMLocked(f"VM {vm.name} is locked in the cloud; unlock it there."), vm)
    if vm.task is not None and action is not Action.DELETE:
        detail = f"VM {vm.name} is busy {vm.task}; wait until its task is null, or delete it."
        raise with_vm_state(TaskInProgress(detail), vm)
    verbs = TRANSITIONS.get((vm.status, action))
    if verbs is None:
        needed = " or ".join(statuses_allowing(action))
        detail = f"VM {vm.name} is {vm.status}; {action} needs {needed}."
        raise with_vm_state(InvalidState(detail), vm)
    if action is Action.RESTART:
        verbs = (_restart_verb(vm, hard),)
    return tuple(Step(verb) for verb in verbs)


def _restart_verb(vm: VM, hard: bool | None) -> Verb:
    if vm.status is not Status.ERROR:
        return Verb.RESTART_HARD if hard else Verb.RESTART_SOFT
    if not vm.launched:
        raise with_vm_state(
            InvalidState(f"VM {vm.name} never ran; delete it and create another one."), vm
        )
    if hard is False:
        detail = f"VM {vm.name} is ERROR; only a restart of type hard can heal it."
        raise with_vm_state(InvalidState(detail), vm)
    return Verb.RESTART_HARD


def check_if_match(snapshot: VMSnapshot, tags: frozenset[str]) -> None:
    """Raise PreconditionFailed unless the VM has one of the entity tags, if there are any."""
    if tags and snapshot.etag not in tags:
        raise precondition_failed(snapshot)


def precondition_failed(snapshot: VMSnapshot) -> PreconditionFailed:
    """Return the error for a VM that has changed since the client has read it."""
    return PreconditionFailed(f"VM {snapshot.vm.name} has changed.", etag=snapshot.etag)


def check_fingerprint(key: IdempotencyKey, stored_fingerprint: str) -> None:
    """Raise IdempotencyKeyReused unless the request has the fingerprint of the first one."""
    if key.fingerprint != stored_fingerprint:
        raise IdempotencyKeyReused(KEY_REUSED_DETAIL)


def check_changes(vm: VM, changes: VMPatch) -> None:
    """Raise ValidationFailed if the VM would have too many metadata pairs."""
    count = len(changes.applied_to(vm.metadata))
    if count > MAX_METADATA_PAIRS:
        message = (
            f"With this the VM would have {count} pairs; at most {MAX_METADATA_PAIRS} are allowed."
        )
        raise ValidationFailed("Too much metadata.", ("/metadata", message))


def with_vm_state(error: VmapiError, vm: VM) -> VmapiError:
    """Add the status, the task and the allowed actions of a VM to an error; return it."""
    error.extra.setdefault("current_status", vm.status)
    error.extra.setdefault("task", vm.task)
    error.extra.setdefault("allowed_actions", vm.allowed_actions)
    return error
