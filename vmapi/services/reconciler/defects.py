"""End an operation that crashes vmapi at each attempt: the rest of the engine must go on.

A failure of the cloud passes, and its attempts end with the deadline of the operation. A defect of
vmapi does not pass: after `MAX_DEFECTS` attempts the operation fails with `internal_error`.
"""

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from vmapi.domain.operation import Operation
from vmapi.errors import InternalError
from vmapi.services.inventory.observer import CloudObserver
from vmapi.services.reconciler.progress import ReconcileResult, as_failed, save_result
from vmapi.services.reconciler.recovery import may_still_arrive
from vmapi.store.store import Store
from vmapi.telemetry.metrics.catalog import ABANDONED_OPERATIONS

log = structlog.get_logger("vmapi.operations")

MAX_DEFECTS = 20
"""Attempts of one operation that may end with an unexpected error: a minute or two."""


class DefectLimiter:
    """Counts the unexpected errors of each operation, of all processes together."""

    def __init__(
        self,
        store: Store,
        observer: CloudObserver,
        clock: Callable[[], datetime],
        response_timeout: float,
    ) -> None:
        """`response_timeout` is in seconds."""
        self._store = store
        self._observer = observer
        self._clock = clock
        self._response_timeout = timedelta(seconds=response_timeout)

    def record(self, operation: Operation, defect: InternalError) -> Operation:
        """Count a defect, and return the operation: failed, if this was the last attempt.

        A call that may still arrive in the cloud is waited for first.
        """
        administration = self._store.operation_administration
        administration.record_failure([operation], defect)
        if administration.count_defects(operation.id) < MAX_DEFECTS:
            return operation
        with self._store.operations.lease(operation.id) as acquired:
            present = self._store.operations.get(operation.id)
            if not acquired or present.is_finished or self._may_still_arrive(present):
                return present
            detail = f"vmapi failed in {MAX_DEFECTS} attempts. {defect.detail}"
            failed = as_failed(present, InternalError(detail), self._clock())
            log.error("operation abandoned", operation_id=operation.id, reason=defect.detail)
            saved = save_result(self._observer, ReconcileResult(present).changed(failed))
            ABANDONED_OPERATIONS.increment(present.action)
            return saved.operation

    def _may_still_arrive(self, operation: Operation) -> bool:
        step, now = operation.step, self._clock()
        return step is not None and may_still_arrive(
            step, operation.step_started_at(step), now, self._response_timeout
        )
