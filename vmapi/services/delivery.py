"""Sending a step of an operation to the cloud, and keeping what came of it."""

from contextlib import suppress
from dataclasses import replace

from vmapi import errors
from vmapi.backends.base import Backend, Receipt
from vmapi.models.lifecycle import Verb
from vmapi.models.operation import Operation, Step, StepState
from vmapi.services.looks import Looks
from vmapi.services.progress import Progress, Record
from vmapi.services.trace import Traces, vm_of

AWAY = (errors.BackendUnavailable, errors.BackendTimeout, errors.BackendError)


class Delivery:
    """Any method may raise StaleOperation."""

    def __init__(self, backend: Backend, looks: Looks, record: Record, traces: Traces) -> None:
        self._backend = backend
        self._looks = looks
        self._record = record
        self._traces = traces

    def deliver(self, operation: Operation, step: Step, *, first: bool) -> Progress:
        """Send a step of which it is kept that it is being sent.

        `first` says that nothing was sent of this operation before. Raises BackendTimeout when the
        answer was lost.
        """
        try:
            return self.sent(operation, step, self._call(operation, step))
        except errors.BackendTimeout as error:
            error.extra["operation_id"] = operation.id
            raise
        except errors.BackendUnavailable as error:
            if first:
                return self._record.fail(operation, error)
            step = replace(step, state=StepState.PLANNED)
            return replace(self._record.keep(operation, step), waiting=True)
        except errors.VmapiError as error:
            return self._refused(operation, step, error, first=first)

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

    def _call(self, operation: Operation, step: Step) -> Receipt | None:
        if step.verb is Verb.CREATE:
            if operation.spec is None:
                # what is to be made is known only to the process that took it on, and that is gone
                raise errors.BackendUnavailable("vmapi died before this was sent; send it again.")
            return self._backend.create(operation.spec, operation.id)
        vm_id = vm_of(operation)
        if operation.changes is None:
            return self._backend.perform(vm_id, step.verb)
        self._backend.update(vm_id, operation.changes)
        with suppress(*AWAY, errors.VMNotFound):
            # nothing in the cloud tells of new metadata by itself
            self._looks.at(vm_id)
        return None

    def _refused(
        self, operation: Operation, step: Step, error: errors.VmapiError, *, first: bool
    ) -> Progress:
        if isinstance(error, errors.VMNotFound) and not (first and step.verb is not Verb.DELETE):
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
        except errors.VMNotFound:
            return self.gone(operation, step)
        except AWAY as away:
            raise errors.BackendTimeout(
                f"{error.detail} Whether it did what it was asked cannot be found out now.",
                operation_id=operation.id,
            ) from away
        if receipt is None:
            return self._record.fail(operation, error)
        return self.sent(operation, step, receipt)
