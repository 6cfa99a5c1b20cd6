"""Record spans with OpenTelemetry.

A span has no text of an exception: it may quote a secret.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from threading import Thread

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from vmapi.concurrency.nonblocking import WouldBlock, run_once
from vmapi.telemetry.tracing.tracer import UNRECORDED, Attributes, Span, SpanKind

SPAN_KINDS = {"internal": trace.SpanKind.INTERNAL, "client": trace.SpanKind.CLIENT}
PROPAGATOR = TraceContextTextMapPropagator()
FLUSH_SECONDS = 2.0
"""Seconds that a stop waits for the receiver of the last spans."""

FIRST_ERROR_STATUS = 500
"""A server span with a status below is no error: the client is at fault."""


class OpenTelemetryRecorder:
    """Records spans with a provider of the SDK, in the context variables of OpenTelemetry."""

    def __init__(self, provider: TracerProvider, version: str) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("vmapi", version)

    def span(
        self, name: str, kind: SpanKind, attributes: Attributes | None
    ) -> AbstractContextManager[Span]:
        """Record a span of the current trace; record nothing outside a trace."""
        if not trace.get_current_span().get_span_context().is_valid:
            return UNRECORDED
        return _recording(
            self._tracer.start_span(name, kind=SPAN_KINDS[kind], attributes=attributes)
        )

    def begin_request(
        self, name: str, headers: Mapping[str, str], attributes: Attributes
    ) -> "OpenTelemetryRequestSpan":
        """Begin the span of a request; one that is served twice has one span."""
        span = run_once(
            "request span",
            lambda: self._tracer.start_span(
                name,
                PROPAGATOR.extract(headers, contexts.Context()),
                trace.SpanKind.SERVER,
                attributes,
            ),
        )
        return OpenTelemetryRequestSpan(span)

    def resume(
        self, name: str, traceparent: str, attributes: Attributes
    ) -> AbstractContextManager[Span]:
        """Record a span of an earlier trace."""
        parent = PROPAGATOR.extract({"traceparent": traceparent}, contexts.Context())
        return _recording(self._tracer.start_span(name, parent, attributes=attributes))

    def traceparent(self) -> str | None:
        """Return the `traceparent` of the current span, or None outside a trace."""
        carrier: dict[str, str] = {}
        PROPAGATOR.inject(carrier)
        return carrier.get("traceparent")

    def log_members(self) -> Mapping[str, str]:
        """Return `trace_id` and `span_id`; nothing outside a trace."""
        current = trace.get_current_span().get_span_context()
        if not current.is_valid:
            return {}
        return {
            "trace_id": trace.format_trace_id(current.trace_id),
            "span_id": trace.format_span_id(current.span_id),
        }

    def stop(self) -> None:
        """Send the recorded spans; drop those that the receiver does not take in time."""
        flush = Thread(target=self._provider.shutdown, name="span-flush", daemon=True)
        flush.start()
        flush.join(FLUSH_SECONDS)


class OpenTelemetryRequestSpan:
    """The span of a request, current until it ends."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span
        self._token = contexts.attach(trace.set_span_in_context(span))

    def end(self, status: int, attributes: Attributes) -> None:
        """End the span with the status of the response."""
        self._span.set_attributes({"http.response.status_code": status, **attributes})
        if status >= FIRST_ERROR_STATUS:
            self._span.set_attribute("error.type", str(status))
            self._span.set_status(trace.StatusCode.ERROR)
        contexts.detach(self._token)
        self._span.end()


@contextmanager
def _recording(span: trace.Span) -> Iterator[Span]:
    """Make a span the current one for a `with` block, and end it with the block."""
    token = contexts.attach(trace.set_span_in_context(span))
    try:
        yield span
    except WouldBlock:
        # the request is served again, and then records the span
        raise
    except BaseException as error:
        span.set_attribute("error.type", type(error).__qualname__)
        span.set_status(trace.StatusCode.ERROR)
        span.end()
        raise
    else:
        span.end()
    finally:
        contexts.detach(token)
