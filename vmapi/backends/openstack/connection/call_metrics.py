"""Metrics and spans of the HTTP requests to OpenStack, by service, call and status.

A call is a method and the template of a path. Every part of a path but the words of the API is an
id, so that the number of calls is bounded.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from vmapi.telemetry.metrics.catalog import OPENSTACK_SECONDS
from vmapi.telemetry.tracing.tracer import TRACER, Span

NO_STATUS = "none"
REQUEST_ID_HEADER = "X-OpenStack-Request-ID"
"""The id of the service in a response, the global id of the caller in a request."""

PATH_WORDS = frozenset(
    {"servers", "detail", "action", "metadata", "os-instance-actions", "limits", "flavors"}
    | {"os-flavor-access", "images", "members", "networks", "auth", "tokens", "v3"}
)


class CallStatus:
    """The status of one call, for its metric and its span."""

    def __init__(self, span: Span) -> None:
        self.text = NO_STATUS
        self._span = span

    def record(self, response: requests.Response) -> None:
        """Record the response."""
        self.text = str(response.status_code)
        self._span.set_attribute("http.response.status_code", response.status_code)
        if request_id := response.headers.get(REQUEST_ID_HEADER):
            self._span.set_attribute("openstack.request_id", request_id)
        if global_id := response.request.headers.get(REQUEST_ID_HEADER):
            self._span.set_attribute("openstack.global_request_id", global_id)


@contextmanager
def observing(service: str, method: str, path: str, body: Any = None) -> Iterator[CallStatus]:
    """Record the duration of a call, and the status that the block records."""
    started_at, name = time.perf_counter(), call_name(method, path, body)
    attributes = {"http.request.method": method, "openstack.service": service}
    with TRACER.span(name, attributes, "client") as span:
        status = CallStatus(span)
        try:
            yield status
        finally:
            seconds = time.perf_counter() - started_at
            OPENSTACK_SECONDS.observe(seconds, service, name, status.text)


def call_name(method: str, path: str, body: Any = None) -> str:
    """Return the name of a call: `POST /servers/{id}/action os-stop`."""
    parts = path.partition("?")[0].strip("/").split("/")
    template = "/".join(part if part in PATH_WORDS else "{id}" for part in parts)
    action = f" {next(iter(body))}" if template.endswith("/action") and body else ""
    return f"{method} /{template}{action}"
