"""Traces with OpenTelemetry: nothing of it is loaded unless an OTLP endpoint is configured."""
