"""Sending a step of an operation to the cloud, and keeping what came of it."""

from contextlib import suppress
from dataclasses import replace

from vmapi import errors
from vmapi.backends.base import AcceptedAction, Backend
from vmapi.domain.identity import CallerToken
from vmapi.domain.lifecycle import Verb
from vmapi.domain.operation import Operation, Step, StepState
from vmapi.services.inventory.observer import CloudObserver
from vmapi.services.reconciler.progress import OperationRecorder, ReconcileResult
from vmapi.services.reconciler.recovery import LostCallRecovery, require_vm_id


class StepDispatcher:
    """Any method may raise StaleOperation."""

    def __init__(
        self,
        backend: Backend,
        observer: CloudObserver,
        recorder: OperationRecorder,
        recovery: LostCallRecovery,
    ) -> None:
        self._backend = backend
        self._observer = observer
        self._recorder = recorder
        self._recovery = recovery

    def dispatch(
        self,
        operation: Operation,
        step: Step,
        *,
        is_first_attempt: bool,
        caller_token: CallerToken | None,
    ) -> ReconcileResult:
        """Send a step of which it is kept that it is being sent.

        `first` says that nothing was sent of this operation before. A personal step is sent
        `on_behalf` of who has asked for it, or not at all; any other one is vmapi's own. Raises
        BackendTimeout when the answer was lost, StoreUnavailable when it cannot be kept.
        """
        try:
            receipt = self._send(operation, step, caller_token)
        except errors.BackendTimeout as error:
            error.extra["operation_id"] = operation.id
            raise
        except errors.VmapiError as error:
            if isinstance(error, errors.BackendUnavailable) or is_hidden(error):
                if is_first_attempt or operation.requires_caller_token:
                    return self._recorder.fail(operation, error)
                step = replace(step, state=StepState.PLANNED)
                return replace(self._recorder.save_step(operation, step), waiting_on_cloud=True)
            return self._handle_refusal(operation, step, error, is_first_attempt=is_first_attempt)
        try:
            return self.record_accepted(operation, step, receipt)
        except errors.StoreUnavailable as away:
            detail = f"{away.detail} The {operation.action} was sent to the cloud, and goes on."
            raise errors.StoreUnavailable(detail, operation_id=operation.id) from away

    def record_accepted(
        self, operation: Operation, step: Step, receipt: AcceptedAction | None
    ) -> ReconcileResult:
        """Keep that the cloud has taken a step on; without a receipt it is done."""
        if receipt is None:
            return self._recorder.save_step(operation, replace(step, state=StepState.DONE))
        operation = replace(operation, vm_id=receipt.vm_id)
        if operation.expected_vm and not self._backend.completes_immediately:
            # clouds tell whole seconds
            at = self._backend.cloud_time().replace(microsecond=0)
            expected = replace(
                operation.expected_vm, id=receipt.vm_id, created_at=at, updated_at=at
            )
            operation = replace(operation, expected_vm=expected)
        step = replace(step, state=StepState.ACCEPTED, request_id=receipt.request_id)
        kept = self._recorder.save_step(operation, step)
        return replace(kept, waiting_on_cloud=not self._backend.completes_immediately)

    def record_vm_gone(self, operation: Operation, step: Step) -> ReconcileResult:
        """Keep that the cloud knows the VM no more."""
        self._observer.mark_gone(require_vm_id(operation))
        if step.verb is Verb.DELETE:
            return self._recorder.save_step(operation, replace(step, state=StepState.DONE))
        lost = errors.BackendLost("The VM vanished from the cloud on the way.")
        return self._recorder.fail(operation, lost)

    def not_sendable_error(self) -> errors.BackendUnavailable:
        """Return why an operation ends that only the process could send that took it on."""
        return errors.BackendUnavailable("vmapi died before this was sent; send it again.")

    def _send(
        self, operation: Operation, step: Step, caller_token: CallerToken | None
    ) -> AcceptedAction | None:
        # what is to be made, and a credential, only the process has that took the operation on
        orphaned = step.verb is Verb.CREATE and operation.spec is None
        if orphaned or (operation.requires_caller_token and caller_token is None):
            raise self.not_sendable_error()
        lent = caller_token if operation.requires_caller_token else None
        if operation.spec is not None and step.verb is Verb.CREATE:
            return self._backend.create_vm(operation.spec, operation.id, caller_token=lent)
        vm_id = require_vm_id(operation)
        if operation.patch is None:
            return self._backend.perform_action(vm_id, step.verb, caller_token=lent)
        self._backend.update_vm(vm_id, operation.patch, caller_token=lent)
        with suppress(errors.VmapiError):
            # nothing in the cloud tells of new metadata by itself
            self._observer.fetch(vm_id)
        return None

    def _handle_refusal(
        self, operation: Operation, step: Step, error: errors.VmapiError, *, is_first_attempt: bool
    ) -> ReconcileResult:
        if is_gone(error) and not (is_first_attempt and step.verb is not Verb.DELETE):
            return self.record_vm_gone(operation, step)
        # a broken answer may follow on a change, and a conflict on one that came through late
        doubtful = isinstance(error, errors.BackendError)
        doubtful = doubtful or (isinstance(error, errors.Conflict) and not is_first_attempt)
        if doubtful:
            return self._recover_or_fail(operation, step, error)
        return self._recorder.fail(operation, error)

    def _recover_or_fail(
        self, operation: Operation, step: Step, error: errors.VmapiError
    ) -> ReconcileResult:
        try:
            receipt = self._recovery.find_request(operation, step)
        except errors.VmapiError as away:
            if is_gone(away):
                return self.record_vm_gone(operation, step)
            raise errors.BackendTimeout(
                f"{error.detail} Whether it did what it was asked cannot be found out now.",
                operation_id=operation.id,
            ) from away
        if receipt is None:
            return self._recorder.fail(operation, error)
        return self.record_accepted(operation, step, receipt)


def is_gone(error: errors.VmapiError) -> bool:
    """Tell whether an error says that the VM is not there."""
    return isinstance(error, errors.VMNotFound) and not error.hidden


def is_hidden(error: errors.VmapiError) -> bool:
    """Tell whether an error says that the cloud does not show the VM, which proves nothing."""
    return isinstance(error, errors.VMNotFound) and error.hidden
