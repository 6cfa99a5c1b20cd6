"""Metrics of operations that a committed transaction has finished."""

from collections.abc import Iterable

from vmapi.domain.operation import Operation
from vmapi.telemetry.metrics.catalog import FAILED_OPERATIONS, OPERATION_SECONDS


def record_finished(finished: Iterable[Operation]) -> None:
    """Record the duration and the outcome of each operation."""
    for operation in finished:
        duration = (operation.finished_at or operation.created_at) - operation.created_at
        OPERATION_SECONDS.observe(duration.total_seconds(), operation.action, operation.status)
        if operation.error is not None:
            FAILED_OPERATIONS.increment(operation.action, operation.error.code)
