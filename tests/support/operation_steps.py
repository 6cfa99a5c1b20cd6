"""Operations with one step, and the check for a failed one."""

from tests.support.reconciler_harness import ReconcilerHarness
from vmapi.domain.lifecycle import Action, Verb
from vmapi.domain.operation import Operation, OperationStatus
from vmapi.domain.vm import VMPatch
from vmapi.services.reconciler.progress import ReconcileResult


def add_single_step(harness: ReconcilerHarness, verb: Verb) -> Operation:
    """Insert an operation with one step of this verb, on a VM that allows the verb."""
    if verb is Verb.CREATE:
        return harness.add_create()
    changes = VMPatch(name="web-2") if verb is Verb.UPDATE else None
    return harness.add_operation(Action(verb), vm_id=harness.running_vm(), patch=changes)


def check_failed(progress: ReconcileResult, code: str) -> None:
    """Check that an operation has failed with this code."""
    operation = progress.operation
    assert operation.status is OperationStatus.FAILED
    assert operation.error is not None
    assert operation.error.code == code
    assert operation.finished_at is not None
