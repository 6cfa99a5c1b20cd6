"""Build the recorder with the SDK of OpenTelemetry.

The SDK reads the standard variables itself: sampler, limits, resource, endpoint, headers, batches.
"""

import logging

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from vmapi.telemetry.tracing.recorder import OpenTelemetryRecorder

SERVICE_NAME = "vmapi"
"""The name of the service unless `OTEL_SERVICE_NAME` or `OTEL_RESOURCE_ATTRIBUTES` has another."""


def build_recorder(version: str) -> OpenTelemetryRecorder:
    """Build a recorder that exports over OTLP/HTTP, and start its thread."""
    # the SDK logs a receiver that does not answer as a warning or an error
    logging.getLogger("opentelemetry").setLevel(logging.WARNING)
    configured = OTELResourceDetector().detect().attributes
    resource = Resource.create(
        {"service.name": SERVICE_NAME, "service.version": version, **configured}
    )
    # `OpenTelemetryRecorder.stop` waits for a bounded time; the SDK would wait for 30 s
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OpenTelemetryRecorder(provider, version)
