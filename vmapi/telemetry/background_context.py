"""The log lines and the trace of an operation that continues outside its request."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from vmapi.domain.operation import Operation
from vmapi.telemetry.tracing.tracer import TRACER


@contextmanager
def continuing(name: str, operation: Operation) -> Iterator[None]:
    """Name the request and its user in log lines, and record a span in the request's trace."""
    attributes = {
        "vmapi.operation.id": operation.id,
        "vmapi.operation.action": operation.action,
        "vmapi.request_id": operation.request_id,
    }
    with (
        structlog.contextvars.bound_contextvars(
            request_id=operation.request_id, user=operation.requested_by
        ),
        TRACER.resume(name, operation.traceparent, attributes),
    ):
        yield
