"""Sending a step of an operation to the cloud, and keeping what came of it."""

from contextlib import suppress
from dataclasses import replace

from vmapi import errors
from vmapi.backends.base import Backend, Receipt
from vmapi.domain.credential import Credential
from vmapi.domain.lifecycle import Verb
from vmapi.domain.operation import Operation, Step, StepState
from vmapi.services.inventory.observer import Looks
from vmapi.services.reconciler.progress import Progress, Record
from vmapi.services.reconciler.recovery import Traces, vm_of


class Delivery:
    """Any method may raise StaleOperation."""

    def __init__(self, backend: Backend, looks: Looks, record: Record, traces: Traces) -> None:
        self._backend = backend
        self._looks = looks
        self._record = record
        self._traces = traces

    def deliver(
        self, operation: Operation, step: Step, *, first: bool, on_behalf: Credential | None
    ) -> Progress:
        """Send a step of which it is kept that it is being sent.

        `first` says that nothing was sent of this operation before. A personal step is sent
        `on_behalf` of who has asked for it, or not at all; any other one is vmapi's own. Raises
        BackendTimeout when the answer was lost, StoreUnavailable when it cannot be kept.
        """
        try:
            receipt = self._call(operation, step, on_behalf)
        except errors.BackendTimeout as error:
            error.extra["operation_id"] = operation.id
            raise
        except errors.VmapiError as error:
            if isinstance(error, errors.BackendUnavailable) or is_hidden(error):
                if first or operation.is_personal:
                    return self._record.fail(operation, error)
                step = replace(step, state=StepState.PLANNED)
                return replace(self._record.keep(operation, step), waiting=True)
            return self._refused(operation, step, error, first=first)
        try:
            return self.sent(operation, step, receipt)
        except errors.StoreUnavailable as away:
            detail = f"{away.detail} The {operation.action} was sent to the cloud, and goes on."
            raise errors.StoreUnavailable(detail, operation_id=operation.id) from away

    def sent(self, operation: Operation, step: Step, receipt: Receipt | None) -> Progress:
        """Keep that the cloud has taken a step on; without a receipt it is done."""
        if receipt is None:
            return self._record.keep(operation, replace(step, state=StepState.DONE))
        operation = replace(operation, vm_id=receipt.vm_id)
        if operation.expected and not self._backend.instant:
            # clouds tell whole seconds
            at = self._backend.now().replace(microsecond=0)
            expected = replace(operation.expected, id=receipt.vm_id, created_at=at, updated_at=at)
            operation = replace(operation, expected=expected)
        step = replace(step, state=StepState.SENT, request_id=receipt.request_id)
        kept = self._record.keep(operation, step)
        return replace(kept, waiting=not self._backend.instant)

    def gone(self, operation: Operation, step: Step) -> Progress:
        """Keep that the cloud knows the VM no more."""
        self._looks.missed(vm_of(operation))
        if step.verb is Verb.DELETE:
            return self._record.keep(operation, replace(step, state=StepState.DONE))
        lost = errors.BackendLost("The VM vanished from the cloud on the way.")
        return self._record.fail(operation, lost)

    def orphaned(self) -> errors.BackendUnavailable:
        """Return why an operation ends that only the process could send that took it on."""
        return errors.BackendUnavailable("vmapi died before this was sent; send it again.")

    def _call(
        self, operation: Operation, step: Step, on_behalf: Credential | None
    ) -> Receipt | None:
        # what is to be made, and a credential, only the process has that took the operation on
        orphaned = step.verb is Verb.CREATE and operation.spec is None
        if orphaned or (operation.is_personal and on_behalf is None):
            raise self.orphaned()
        lent = on_behalf if operation.is_personal else None
        if operation.spec is not None and step.verb is Verb.CREATE:
            return self._backend.create(operation.spec, operation.id, on_behalf=lent)
        vm_id = vm_of(operation)
        if operation.changes is None:
            return self._backend.perform(vm_id, step.verb, on_behalf=lent)
        self._backend.update(vm_id, operation.changes, on_behalf=lent)
        with suppress(errors.VmapiError):
            # nothing in the cloud tells of new metadata by itself
            self._looks.at(vm_id)
        return None

    def _refused(
        self, operation: Operation, step: Step, error: errors.VmapiError, *, first: bool
    ) -> Progress:
        if is_gone(error) and not (first and step.verb is not Verb.DELETE):
            return self.gone(operation, step)
        # a broken answer may follow on a change, and a conflict on one that came through late
        doubtful = isinstance(error, errors.BackendError)
        doubtful = doubtful or (isinstance(error, errors.Conflict) and not first)
        if doubtful:
            return self._find_or_fail(operation, step, error)
        return self._record.fail(operation, error)

    def _find_or_fail(self, operation: Operation, step: Step, error: errors.VmapiError) -> Progress:
        try:
            receipt = self._traces.find(operation, step)
        except errors.VmapiError as away:
            if is_gone(away):
                return self.gone(operation, step)
            raise errors.BackendTimeout(
                f"{error.detail} Whether it did what it was asked cannot be found out now.",
                operation_id=operation.id,
            ) from away
        if receipt is None:
            return self._record.fail(operation, error)
        return self.sent(operation, step, receipt)


def is_gone(error: errors.VmapiError) -> bool:
    """Tell whether an error says that the VM is not there."""
    return isinstance(error, errors.VMNotFound) and not error.hidden


def is_hidden(error: errors.VmapiError) -> bool:
    """Tell whether an error says that the cloud does not show the VM, which proves nothing."""
    return isinstance(error, errors.VMNotFound) and error.hidden
