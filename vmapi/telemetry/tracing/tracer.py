"""The tracer of the process: spans that cost nothing until a recorder records them.

Code opens a span at a gate that all work of a kind passes: a request, a transaction, a call to
OpenStack, a step of an operation. Only requests begin traces. A span outside a trace is not
recorded, so that scans and other background work record nothing.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol

from structlog.typing import EventDict, WrappedLogger

SpanKind = Literal["internal", "client"]
AttributeValue = str | int
Attributes = Mapping[str, AttributeValue]


class Span(Protocol):
    """One timed part of a trace."""

    def set_attribute(self, name: str, value: AttributeValue, /) -> None:
        """Set an attribute; it must hold no secret."""
        ...


class RequestSpan(Protocol):
    """The span of a request that this process serves."""

    def end(self, status: int, attributes: Attributes) -> None:
        """End the span with the status of the response."""
        ...


class SpanRecorder(Protocol):
    """Records spans: `OpenTelemetryRecorder`."""

    def span(
        self, name: str, kind: SpanKind, attributes: Attributes | None
    ) -> AbstractContextManager[Span]:
        """Record a span of the current trace."""
        ...

    def begin_request(
        self, name: str, headers: Mapping[str, str], attributes: Attributes
    ) -> RequestSpan:
        """Begin the span of a request."""
        ...

    def resume(
        self, name: str, traceparent: str, attributes: Attributes
    ) -> AbstractContextManager[Span]:
        """Record a span of an earlier trace."""
        ...

    def traceparent(self) -> str | None:
        """Return the `traceparent` of the current span."""
        ...

    def log_members(self) -> Mapping[str, str]:
        """Return the members that refer a log line to the current span."""
        ...

    def stop(self) -> None:
        """Send the recorded spans."""
        ...


class _UnrecordedSpan:
    def set_attribute(self, name: str, value: AttributeValue, /) -> None:
        pass


UNRECORDED: AbstractContextManager[Span] = nullcontext(_UnrecordedSpan())
"""The span that is not recorded."""


class Tracer:
    """Opens spans, and hands them to the recorder of the process if there is one."""

    def __init__(self) -> None:
        self._recorder: SpanRecorder | None = None

    @property
    def is_enabled(self) -> bool:
        """Whether spans are recorded."""
        return self._recorder is not None

    def enable(self, recorder: SpanRecorder) -> None:
        """Record spans from now on. Call it after the server has forked."""
        self._recorder = recorder

    def stop(self) -> None:
        """Send the recorded spans, and record no others."""
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.stop()

    def span(
        self, name: str, attributes: Attributes | None = None, kind: SpanKind = "internal"
    ) -> AbstractContextManager[Span]:
        """Open a span of the current trace for a `with` block."""
        if self._recorder is None:
            return UNRECORDED
        return self._recorder.span(name, kind, attributes)

    def begin_request(
        self, name: str, headers: Mapping[str, str], attributes: Attributes
    ) -> RequestSpan | None:
        """Begin the span of a request, in the trace that its headers name (W3C Trace Context)."""
        if self._recorder is None:
            return None
        return self._recorder.begin_request(name, headers, attributes)

    def resume(
        self, name: str, traceparent: str | None, attributes: Attributes
    ) -> AbstractContextManager[Span]:
        """Open a span of an earlier trace for a `with` block, in any process."""
        if self._recorder is None or traceparent is None:
            return UNRECORDED
        return self._recorder.resume(name, traceparent, attributes)

    def traceparent(self) -> str | None:
        """Return the `traceparent` of the current span, or None outside a trace."""
        return None if self._recorder is None else self._recorder.traceparent()

    def add_log_members(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        """Add `trace_id` and `span_id` to a log line: a processor of structlog."""
        if self._recorder is not None:
            event.update(self._recorder.log_members())
        return event


TRACER = Tracer()
