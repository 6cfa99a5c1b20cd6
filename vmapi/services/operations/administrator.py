"""Show operations to operators, and let operators retry or end them.

An operator must not undo the protocol of lost responses: a finished operation is never sent again,
and no operation ends while its call may still take effect in the cloud. An end by an operator is
the deadline of the operation, brought forward: clients get the same error, and a create that
arrives later still finds its operation.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from vmapi.domain.audit import AuditEntry
from vmapi.domain.bulk import BulkOperation
from vmapi.domain.operation import Operation, OperationReport, OperationStatus, StepState
from vmapi.domain.timestamps import format_rfc3339
from vmapi.errors import InvalidState, OperationNotFound, OperationTimeout, TaskInProgress
from vmapi.services.reconciler.progress import as_failed
from vmapi.services.reconciler.recovery import arrives_until, is_from_wrong_clock
from vmapi.store.conflicts import OperationRevisionConflict
from vmapi.store.store import Store

MAX_END_ATTEMPTS = 5
"""Attempts to end an operation while an engine saves it at the same time."""


class OperationAdministrator:
    """Shows, retries and ends operations. Any method may raise StoreUnavailable.

    `user` is the operator for the audit trail. `response_timeout` of a call is in seconds.
    """

    def __init__(
        self, store: Store, clock: Callable[[], datetime], response_timeout: float
    ) -> None:
        self._store = store
        self._clock = clock
        self._response_timeout = timedelta(seconds=response_timeout)

    def list_unfinished(self, limit: int) -> Sequence[OperationReport]:
        """Return the oldest unfinished operations."""
        return self._store.operation_administration.list_unfinished(limit)

    def list_failed(self, limit: int) -> Sequence[OperationReport]:
        """Return the operations that have failed last, the newest first."""
        return self._store.operation_administration.list_failed(limit)

    def get(self, operation_id: str) -> OperationReport | BulkOperation:
        """Return an operation or a bulk operation. Raises OperationNotFound."""
        try:
            return self._store.operation_administration.get(operation_id)
        except OperationNotFound:
            return self._store.operations.bulk.get(operation_id, None)

    def retry(self, operation_id: str, user: str) -> OperationReport:
        """Let the engine attempt an unfinished operation without delay.

        Raises OperationNotFound; InvalidState for a finished operation.
        """
        report = self._get_part(operation_id)
        entry = AuditEntry.for_operator(report.operation, self._clock(), "operation_retry", user)
        repository = self._store.operation_administration
        if report.operation.is_finished or not repository.request_retry(report.operation, entry):
            raise _finished_error(repository.get(operation_id).operation)
        return report

    def fail(self, operation_id: str, reason: str, user: str) -> Operation:
        """End an unfinished operation as failed, for a reason that its clients see.

        Raises OperationNotFound; InvalidState for a finished operation, and for one with a call
        that may still take effect; TaskInProgress while an engine saves it again and again.
        """
        for _ in range(MAX_END_ATTEMPTS):
            operation = self._get_part(operation_id).operation
            self._check_can_end(operation)
            error = OperationTimeout(_describe_end(operation, reason))
            now = self._clock()
            failed = as_failed(operation, error, now)
            entry = AuditEntry.for_operator(failed, now, "operation_fail", user, reason)
            try:
                return self._store.operation_administration.end(failed, entry)
            except OperationRevisionConflict:
                # an engine was faster: its state decides
                continue
        raise TaskInProgress("An engine works on this operation now. Repeat the command.")

    def _get_part(self, operation_id: str) -> OperationReport:
        report = self.get(operation_id)
        if isinstance(report, BulkOperation):
            raise InvalidState(
                f"{operation_id} is a bulk operation. Name one of its operations: "
                f"vmapi operations show {operation_id}"
            )
        return report

    def _check_can_end(self, operation: Operation) -> None:
        if operation.is_finished:
            raise _finished_error(operation)
        step, now = operation.step, self._clock()
        if step is None:
            return
        sent_at = operation.step_started_at(step)
        until = arrives_until(step, sent_at, self._response_timeout)
        if until is None or now > until:
            return
        if is_from_wrong_clock(sent_at, now):
            raise InvalidState(
                f"The {step.verb} has a time in the future: {format_rfc3339(sent_at)}. The clock "
                "of a machine is or was wrong. An engine corrects the time at its next attempt."
            )
        raise InvalidState(
            f"The {step.verb} was sent at {format_rfc3339(sent_at)}, without a response yet, and "
            f"may take effect until {format_rfc3339(until)}. Repeat the command after that time."
        )


def _describe_end(operation: Operation, reason: str) -> str:
    ended = f"The operator ended the {operation.action}: {reason.rstrip('.')}."
    is_sent = operation.step is not None and operation.step.state is not StepState.PLANNED
    return f"{ended} The cloud may still complete it." if is_sent else ended


def _finished_error(operation: Operation) -> InvalidState:
    """Return the error for a finished operation, with the acts that are possible."""
    advice = "Nothing is left to do."
    if operation.status is OperationStatus.SUPERSEDED:
        advice = "A delete of its VM has replaced it."
    elif operation.status is OperationStatus.FAILED:
        key = "a new" if operation.key else "the same or a new"
        advice = f"The client can send the change again, with {key} Idempotency-Key."
    finished_at = format_rfc3339(operation.finished_at or operation.created_at)
    return InvalidState(
        f"Operation {operation.id} is finished: {operation.status} at {finished_at}. vmapi never "
        f"sends a finished operation again. {advice}"
    )
