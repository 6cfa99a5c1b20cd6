"""Transports of a script: requests to an app of this process."""

import time
from collections.abc import Mapping
from typing import Any, Protocol

from flask import Flask

from tests.support.live.api_response import ApiResponse


class SendRequest(Protocol):
    """Sends a request and returns the response."""

    def __call__(
        self, method: str, path: str, body: Any, headers: Mapping[str, str] | None = None
    ) -> ApiResponse: ...


def in_process(app: Flask) -> SendRequest:
    """Return a transport to an app of this process, for any number of threads."""

    def send(
        method: str, path: str, body: Any, headers: Mapping[str, str] | None = None
    ) -> ApiResponse:
        started_at = time.monotonic()
        reply = app.test_client().open(path, method=method, json=body, headers=headers)
        seconds = time.monotonic() - started_at
        return ApiResponse(
            reply.status_code, reply.headers, reply.get_json(silent=True), reply.text, seconds
        )

    return send
