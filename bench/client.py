"""A client of a server, with one keep-alive connection."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

VMS = "/api/v1/vms"
OPERATIONS = "/api/v1/operations"
SYNC_TIMEOUT_SECONDS = 300.0


class RequestFailed(RuntimeError):
    """A response that is an error."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status} {detail}")
        self.status = status


class JsonClient:
    """A client that sends and receives JSON."""

    def __init__(self, url: str) -> None:
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=120)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send a request and return the JSON of its response. Raises RequestFailed."""
        content = None if body is None else json.dumps(body)
        headers |= {} if body is None else {"Content-Type": "application/json"}
        self._connection.request(method, path, content, headers)
        response = self._connection.getresponse()
        text = response.read()
        if response.status >= 300:
            raise RequestFailed(response.status, f"{method} {path}: {text[:500]!r}")
        return json.loads(text) if text else None

    def get_bytes(self, path: str) -> bytes:
        """Return the body of a response."""
        self._connection.request("GET", path)
        return self._connection.getresponse().read()

    def get_status(self, path: str, **headers: str) -> tuple[int, str]:
        """Return the status and the entity tag of a response."""
        self._connection.request("GET", path, headers=headers)
        response = self._connection.getresponse()
        response.read()
        return response.status, response.headers.get("ETag", "")

    def wait_for_vms(self, count: int) -> None:
        """Wait until the server lists this number of VMs. Raises TimeoutError."""
        deadline = time.monotonic() + SYNC_TIMEOUT_SECONDS
        while (listed := self._count_vms()) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{listed} of {count} VMs after {SYNC_TIMEOUT_SECONDS:.0f} s")
            time.sleep(0.2)

    def _count_vms(self) -> int:
        try:
            return int(self.call("GET", f"{VMS}?page_size=1")["total"])
        except RuntimeError:
            return 0

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


@contextmanager
def connect(url: str) -> Iterator[JsonClient]:
    """Open a client for the block."""
    client = JsonClient(url)
    try:
        yield client
    finally:
        client.close()
