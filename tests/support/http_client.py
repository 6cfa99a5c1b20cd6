"""An HTTP client without redirects and retries: one connection for each request."""

import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from typing import Any

WAIT_SECONDS = 90.0
"""Seconds after which a wait fails: far longer than any wait that succeeds."""


@dataclass(frozen=True)
class HttpResponse:
    """A response of the server."""

    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def content_type(self) -> str:
        return self.headers["Content-Type"]

    def check_problem(self, status: int, code: str) -> Any:
        """Check that the response is this problem, and return it."""
        assert (self.status, self.content_type) == (status, "application/problem+json"), self
        assert (self.json["status"], self.json["code"]) == (status, code)
        assert self.json["type"] == f"/problems/{code}"
        assert self.json["request_id"] == self.headers["X-Request-ID"]
        return self.json


class HttpClient:
    """Sends requests to one server. A connection times out after `timeout` seconds."""

    def __init__(self, port: int, timeout: float = WAIT_SECONDS) -> None:
        self.port = port
        self._timeout = timeout

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=self._timeout)

    def __call__(
        self,
        method: str,
        path: str,
        sent: Any = None,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> HttpResponse:
        """Send a request; `sent` becomes a JSON body."""
        headers = dict(headers or {})
        if sent is not None:
            body = json.dumps(sent).encode()
            headers.setdefault("Content-Type", "application/json")
        connection = self.connect()
        try:
            return send_request(connection, method, path, body, headers)
        finally:
            connection.close()

    def get_json(self, path: str) -> Any:
        """Return the JSON of a GET that succeeds."""
        answer = self("GET", path)
        assert answer.status == 200, answer
        return answer.json


def send_request(
    connection: HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> HttpResponse:
    """Send a request on an open connection."""
    connection.request(method, path, body, headers or {})
    return read_response(connection)


def read_response(connection: HTTPConnection) -> HttpResponse:
    """Read the response to the request on a connection."""
    response = connection.getresponse()
    return HttpResponse(response.status, response.headers, response.read())


def wait_until(
    description: str, condition: Callable[[], Any], timeout: float = WAIT_SECONDS
) -> Any:
    """Return the value of a condition as soon as it is true."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {description}"
        time.sleep(0.02)
    return value


def send_raw(port: int, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes unchanged, and return status, headers and body of the response."""
    with socket.create_connection(("127.0.0.1", port), WAIT_SECONDS) as connection:
        connection.sendall(sent)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    head, body = received.split(b"\r\n\r\n", 1)
    first, *rest = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in rest), body
