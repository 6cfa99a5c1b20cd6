"""A client that repeats each change with its idempotency key until a final response."""

import random
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from tests.support.http_client import HttpClient

CLIENT_TIMEOUT = 1200.0
"""Seconds after which a client gives up: longer than all deadlines together."""
RESPONSE_TIMEOUT = 60.0
"""Seconds until a single response."""
BUSY_CODES = ("task_in_progress", "idempotency_in_progress")
SUCCESS_STATUSES = (200, 201, 204)


@dataclass(frozen=True, slots=True)
class FinalResponse:
    """The final response to a change, with its idempotency key."""

    key: str
    status: int
    body: Any

    @property
    def code(self) -> str:
        """The problem code; empty for a success."""
        return str(self.body.get("code", ""))


@dataclass
class RetryingClient:
    """A client for any number of threads, which counts its responses.

    It sends nothing after `stopped` is set.
    """

    port: int
    response_counts: Counter[str] = field(default_factory=Counter)
    stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._http = HttpClient(self.port, RESPONSE_TIMEOUT)

    def change(self, method: str, path: str, body: Any = None, key: str = "") -> FinalResponse:
        """Send a change until there is a final response, and return that response."""
        key, end = key or str(uuid.uuid4()), time.monotonic() + CLIENT_TIMEOUT
        while time.monotonic() < end and not self.stopped.is_set():
            response = FinalResponse(key, *self.send(method, path, body, key))
            self.response_counts[f"{response.status} {response.code}".strip()] += 1
            if self._is_final(response):
                return response
            time.sleep(random.uniform(0.3, 1.5))
        raise AssertionError(
            f"{method} {path} under {key} has no final response: {dict(self.response_counts)}"
        )

    def send(self, method: str, path: str, body: Any = None, key: str = "") -> tuple[int, Any]:
        """Send a request once; the status 0 means no response."""
        headers = {"Prefer": "wait=10", "Content-Type": "application/json"}
        headers |= {"Idempotency-Key": key} if key else {}
        try:
            response = self._http(method, f"/api/v1{path}", body, headers=headers)
        except (OSError, HTTPException):
            # also one that broke off in the middle
            return 0, {}
        try:
            return response.status, response.json if response.body else {}
        except ValueError:
            return response.status, {}

    def list_operations(self, **filters: str) -> list[Any]:
        """List all operations that match the filters."""
        query = "".join(f"&{name}={value}" for name, value in filters.items())
        items: list[Any] = []
        path = f"/operations?page_size=1000{query}"
        while path:
            status, page = self.send("GET", path)
            assert status == 200, (status, page)
            items += page["items"]
            path = (page["next"] or "").removeprefix("/api/v1")
        return items

    def _is_final(self, response: FinalResponse) -> bool:
        if response.status in SUCCESS_STATUSES:
            return True
        if 400 <= response.status < 500:
            return response.code not in BUSY_CODES
        return response.status >= 500 and self._has_failed(response.key)

    def _has_failed(self, key: str) -> bool:
        # a failure after a change keeps its key: each repetition returns the failure
        status, items = self.send("GET", f"/operations?idempotency_key={key}")
        return status == 200 and any(
            operation["status"] == "failed" for operation in items["items"]
        )
