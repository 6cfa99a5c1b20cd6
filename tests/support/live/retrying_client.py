"""A client that repeats each change under its key until it is over, as the README has it."""

import json
import random
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

CLIENT_TIMEOUT = 1200.0
"""Seconds after which a client gives up: longer than anything is allowed to take."""
BUSY_CODES = ("task_in_progress", "idempotency_in_progress")
SUCCESS_STATUSES = (200, 201, 204)


@dataclass(frozen=True, slots=True)
class FinalResponse:
    """What a client was told in the end of the change that it had asked for under a key."""

    key: str
    status: int
    body: Any

    @property
    def code(self) -> str:
        """What went wrong."""
        return str(self.body.get("code", ""))


@dataclass
class RetryingClient:
    """Counts its answers; any number of threads may use one. Once it is `over` it asks no more."""

    url: str
    response_counts: Counter[str] = field(default_factory=Counter)
    stopped: threading.Event = field(default_factory=threading.Event)

    def change(self, method: str, path: str, body: Any = None) -> FinalResponse:
        """Return the answer to a change that is over."""
        key, end = str(uuid.uuid4()), time.monotonic() + CLIENT_TIMEOUT
        while time.monotonic() < end and not self.stopped.is_set():
            told = FinalResponse(key, *self.send(method, path, body, key))
            self.response_counts[f"{told.status} {told.code}".strip()] += 1
            if self._is_final(told):
                return told
            time.sleep(random.uniform(0.3, 1.5))
        raise AssertionError(
            f"{method} {path} under {key} has no end: {dict(self.response_counts)}"
        )

    def send(self, method: str, path: str, body: Any = None, key: str = "") -> tuple[int, Any]:
        """Send a request once; 0 is no answer at all."""
        headers = {"Prefer": "wait=10", "Content-Type": "application/json"}
        headers |= {"Idempotency-Key": key} if key else {}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}", data=data, headers=headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, json.loads(response.read() or b"{}")
        except urllib.error.HTTPError as error:
            return error.code, _json_of(error)
        except (OSError, ValueError, HTTPException):
            # also one that broke off in the middle
            return 0, {}

    def list_operations(self, **asked: str) -> list[Any]:
        """Return all operations that are asked for."""
        filters = "".join(f"&{name}={value}" for name, value in asked.items())
        found: list[Any] = []
        path = f"/operations?page_size=1000{filters}"
        while path:
            status, page = self.send("GET", path)
            assert status == 200, (status, page)
            found += page["items"]
            path = (page["next"] or "").removeprefix("/api/v1")
        return found

    def _is_final(self, told: FinalResponse) -> bool:
        if told.status in SUCCESS_STATUSES:
            return True
        if 400 <= told.status < 500:
            return told.code not in BUSY_CODES
        return told.status >= 500 and self._has_failed(told.key)

    def _has_failed(self, key: str) -> bool:
        # a failure that has changed something keeps its key: a repeat tells it again and again
        status, found = self.send("GET", f"/operations?idempotency_key={key}")
        return status == 200 and any(each["status"] == "failed" for each in found["items"])


def _json_of(error: urllib.error.HTTPError) -> Any:
    try:
        return json.loads(error.read() or b"{}")
    except (OSError, ValueError, HTTPException):
        return {}
