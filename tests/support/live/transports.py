"""Sending a request, over HTTP or to an app of this process."""

import time
from collections.abc import Mapping
from typing import Any, Protocol

from flask import Flask

from tests.support.live.api_response import Answer


class Send(Protocol):
    """Sends a request, and returns the answer."""

    def __call__(
        self, method: str, path: str, body: Any, headers: Mapping[str, str] | None = None
    ) -> Answer: ...


def in_process(app: Flask) -> Send:
    """Send requests to an app of this process; any number of threads may."""

    def send(method: str, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Answer:
        begun = time.monotonic()
        got = app.test_client().open(path, method=method, json=body, headers=headers)
        seconds = time.monotonic() - begun
        return Answer(got.status_code, got.headers, got.get_json(silent=True), got.text, seconds)

    return send
