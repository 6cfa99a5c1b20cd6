"""Spans that a test records in memory."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from vmapi.telemetry.tracing.recorder import OpenTelemetryRecorder
from vmapi.telemetry.tracing.tracer import TRACER

TRACE_ID, PARENT_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{PARENT_ID}-01"
"""The example of W3C Trace Context, sampled."""


@contextmanager
def recording_spans() -> Iterator[InMemorySpanExporter]:
    """Record the spans of this process; `get_finished_spans` returns them."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    TRACER.enable(OpenTelemetryRecorder(provider, "0"))
    try:
        yield exporter
    finally:
        TRACER.stop()
