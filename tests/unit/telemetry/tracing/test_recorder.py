"""Spans: only in traces, with the class of an error, once for a request that is served twice."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.support.spans import PARENT_ID, TRACE_ID, TRACEPARENT, recording_spans
from vmapi.concurrency.nonblocking import RepeatableRequest, WouldBlock, raise_if_nonblocking
from vmapi.telemetry.tracing.tracer import TRACER


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    with recording_spans() as exporter:
        yield exporter


def names(exporter: InMemorySpanExporter) -> list[str]:
    return [span.name for span in exporter.get_finished_spans()]


def test_span_outside_a_trace_is_not_recorded(exporter: InMemorySpanExporter) -> None:
    with TRACER.span("database read") as span:
        span.set_attribute("a", 1)
    assert names(exporter) == []
    assert TRACER.traceparent() is None
    assert TRACER.add_log_members(None, "", {"a": 1}) == {"a": 1}


def test_resumed_span_is_a_child_of_the_earlier_one(exporter: InMemorySpanExporter) -> None:
    with TRACER.resume("reconcile", TRACEPARENT, {}), TRACER.span("database read"):
        event = TRACER.add_log_members(None, "", {})
        assert event["trace_id"] == TRACE_ID
        assert TRACER.traceparent() == f"00-{TRACE_ID}-{event['span_id']}-01"
    read, reconcile = exporter.get_finished_spans()
    assert (read.parent.span_id, reconcile.parent.span_id) == (
        reconcile.context.span_id,
        int(PARENT_ID, 16),
    )


def test_operation_without_a_trace_is_not_recorded(exporter: InMemorySpanExporter) -> None:
    with TRACER.resume("reconcile", None, {}):
        assert TRACER.traceparent() is None
    assert names(exporter) == []


def test_trace_that_is_not_sampled_is_not_recorded(exporter: InMemorySpanExporter) -> None:
    with TRACER.resume("reconcile", TRACEPARENT[:-1] + "0", {}), TRACER.span("database read"):
        assert (TRACER.traceparent() or "").startswith(f"00-{TRACE_ID}-")
    assert names(exporter) == []


def test_failed_span_has_the_class_of_the_error_and_not_its_text(
    exporter: InMemorySpanExporter,
) -> None:
    with pytest.raises(ValueError, match="hunter2"), TRACER.resume("reconcile", TRACEPARENT, {}):
        raise ValueError("hunter2")
    (span,) = exporter.get_finished_spans()
    assert span.attributes == {"error.type": "ValueError"}
    assert not span.status.is_ok
    assert "hunter2" not in span.to_json()


def test_request_that_is_served_twice_has_one_span(exporter: InMemorySpanExporter) -> None:
    def serve() -> None:
        span = TRACER.begin_request("GET /vms", {"traceparent": TRACEPARENT}, {})
        with TRACER.span("database read"):
            raise_if_nonblocking()
        assert span is not None
        span.end(503, {})

    request = RepeatableRequest()
    with pytest.raises(WouldBlock):
        request.serve_without_waiting(serve)
    assert names(exporter) == []
    request.serve_again(serve)
    read, served = exporter.get_finished_spans()
    assert (read.name, served.name) == ("database read", "GET /vms")
    assert read.parent == served.context
    assert served.attributes == {"http.response.status_code": 503, "error.type": "503"}
    assert TRACER.traceparent() is None


def test_without_a_recorder_a_span_is_one_shared_object() -> None:
    assert TRACER.span("a") is TRACER.span("b") is TRACER.resume("c", TRACEPARENT, {})
    assert TRACER.begin_request("GET", {}, {}) is None
