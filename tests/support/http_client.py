"""A client that hides nothing: one connection a request, no redirects followed."""

import json
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPMessage
from typing import Any

PATIENCE = 45.0
"""Seconds after which what was waited for counts as lost: far more than it ever takes."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def type(self) -> str:
        return self.headers["Content-Type"]

    def problem(self, status: int, code: str) -> Any:
        """Return the problem that this is, and nothing else than this one."""
        assert (self.status, self.type) == (status, "application/problem+json"), self
        assert (self.json["status"], self.json["code"]) == (status, code)
        assert self.json["type"] == f"/problems/{code}"
        assert self.json["request_id"] == self.headers["X-Request-ID"]
        return self.json


class Caller:
    """Sends requests to one server."""

    def __init__(self, port: int) -> None:
        self.port = port

    def connect(self) -> HTTPConnection:
        return HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)

    def __call__(
        self,
        method: str,
        path: str,
        sent: Any = None,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send a request, with a JSON body if one is given."""
        headers = dict(headers or {})
        if sent is not None:
            body = json.dumps(sent).encode()
            headers.setdefault("Content-Type", "application/json")
        connection = self.connect()
        try:
            return ask(connection, method, path, body, headers)
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """Return the JSON of a GET that succeeds."""
        answer = self("GET", path)
        assert answer.status == 200, answer
        return answer.json


def ask(
    connection: HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """Send a request on a connection that may be used again."""
    connection.request(method, path, body, headers or {})
    return read(connection)


def read(connection: HTTPConnection) -> Answer:
    """Read the answer to what was sent."""
    response = connection.getresponse()
    return Answer(response.status, response.headers, response.read())


def wait_until(what: str, look: Callable[[], Any]) -> Any:
    """Return what a look returns, as soon as that is something."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        time.sleep(0.02)
    return found


def send_raw(port: int, sent: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes as they are, and return status, headers and body of the answer."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall(sent)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    head, body = received.split(b"\r\n\r\n", 1)
    first, *rest = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in rest), body
