"""A receiver of spans: OTLP over HTTP, as a collector has it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from tests.support.http_client import wait_until
from tests.support.loopback_server import LoopbackHandler, run_server

TRACES_PATH = "/v1/traces"
PROTOBUF = "application/x-protobuf"
NOT_RECEIVED = "?"
"""The name of a parent that belongs to a client, or is lost."""


@dataclass(frozen=True)
class ReceivedSpan:
    """A span, with its ids in hexadecimal, and its parent's id or an empty text."""

    trace_id: str
    id: str
    parent_id: str
    name: str
    kind: int
    attributes: dict[str, Any]
    resource: dict[str, Any]
    is_error: bool


@dataclass
class OtlpReceiver:
    """The spans that a receiver has got, and the address where it serves."""

    url: str = ""
    spans: list[ReceivedSpan] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, str]:
        """The variables that send the spans of a process here, soon after they end."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}

    def take(self, body: bytes) -> None:
        """Keep the spans of a request."""
        self.bodies.append(body)
        request = ExportTraceServiceRequest.FromString(body)
        for part in request.resource_spans:
            resource = _to_dict(part.resource.attributes)
            for scope in part.scope_spans:
                self.spans += [_to_span(span, resource) for span in scope.spans]

    def find(self, name: str, **attributes: Any) -> Sequence[ReceivedSpan]:
        """Return the spans with a name and these attributes; `__` stands for a dot."""
        expected = {key.replace("__", "."): text for key, text in attributes.items()}.items()
        return [
            span for span in self.spans if span.name == name and expected <= span.attributes.items()
        ]

    def wait_for(self, name: str, **attributes: Any) -> ReceivedSpan:
        """Wait for the first span with a name and these attributes."""
        spans = wait_until(f"a span {name}", lambda: self.find(name, **attributes))
        return spans[0]

    def trace(self, span: ReceivedSpan) -> Sequence[ReceivedSpan]:
        """Return all spans of the trace of a span."""
        return [other for other in self.spans if other.trace_id == span.trace_id]

    def path(self, span: ReceivedSpan) -> list[str]:
        """Return the names from the root of a trace to a span."""
        names = [span.name]
        by_id = {other.id: other for other in self.trace(span)}
        while span.parent_id:
            if span.parent_id not in by_id:
                return [NOT_RECEIVED, *names]
            span = by_id[span.parent_id]
            names.insert(0, span.name)
        return names


def _to_span(span: Any, resource: dict[str, Any]) -> ReceivedSpan:
    return ReceivedSpan(
        trace_id=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        kind=span.kind,
        attributes=_to_dict(span.attributes),
        resource=resource,
        is_error=span.status.code == span.status.STATUS_CODE_ERROR,
    )


def _to_dict(attributes: Sequence[KeyValue]) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in attributes}


@contextmanager
def run_receiver() -> Iterator[OtlpReceiver]:
    """Receive spans on a free port."""
    receiver = OtlpReceiver()

    class Handler(LoopbackHandler):
        def handle_any(self) -> None:
            assert (self.path, self.headers["Content-Type"]) == (TRACES_PATH, PROTOBUF)
            receiver.take(self.read_body())
            reply = ExportTraceServiceResponse().SerializeToString()
            self.send_reply(200, [("Content-Type", PROTOBUF)], reply, truncate=False)

    with run_server() as server:
        server.RequestHandlerClass = Handler
        receiver.url = server.url
        yield receiver
