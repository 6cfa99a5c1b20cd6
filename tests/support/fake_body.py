"""A response body that the worker takes over, and a client that reads it."""

import socket
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any

from tests.support.http_client import WAIT_SECONDS, wait_until
from vmapi.api.request.detached_body import BodyDetached, accepts_detached_body
from vmapi.concurrency.nonblocking import WouldBlock

FIRST_BYTES = b"first\n"


class FakeBody:
    """A detached body: the test pushes its bytes, or has them loaded."""

    def __init__(self, credentials: Hashable = "token") -> None:
        self.credentials = credentials
        self.due_at = float("inf")
        self.is_ended = self.is_released = self.must_load = self.has_blocked = False
        self.is_closed_by_app = False
        self.load_begun, self.load_gate = threading.Event(), threading.Event()
        self.loading_threads: list[str] = []
        self.error: Exception | None = None
        self.is_permitted: Callable[[], bool] = lambda: True
        self._on_ready: Callable[[], None] | None = None
        self._chunks: list[bytes] = []

    def __iter__(self) -> Iterator[bytes]:
        yield FIRST_BYTES
        raise BodyDetached(self)

    def close(self) -> None:
        """Record the call that PEP 3333 requires."""
        self.is_closed_by_app = True

    def notify(self, on_ready: Callable[[], None]) -> None:
        self._on_ready = on_ready

    def push(self, *chunks: bytes) -> None:
        """Offer bytes from another thread than the writer's."""
        self._chunks += chunks
        self.wake()

    def wake(self) -> None:
        wait_until("the listener", lambda: self._on_ready)
        assert self._on_ready is not None
        self._on_ready()

    def read(self) -> bytes | None:
        assert threading.current_thread().name == "poller"
        if self.is_ended:
            return None
        if self.error is not None:
            raise self.error
        if self.must_load:
            self.has_blocked = True
            raise WouldBlock
        if time.monotonic() >= self.due_at:
            self.due_at = float("inf")
            return b"due\n"
        return self._chunks.pop(0) if self._chunks else b""

    def load(self) -> None:
        self.load_begun.set()
        assert self.load_gate.wait(WAIT_SECONDS)
        self.loading_threads.append(threading.current_thread().name)
        self._chunks.append(b"loaded\n")
        self.must_load = False

    def end(self) -> None:
        self.is_ended = True

    def release(self) -> None:
        assert not self.is_released
        self.is_released = True


class StreamApp:
    """A WSGI app: `/streams/N` has the body N; any other URL responds at once."""

    def __init__(self, bodies: list[FakeBody]) -> None:
        self._bodies = bodies

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        prefix, _, number = environ["PATH_INFO"].rpartition("/")
        if prefix == "/streams":
            assert accepts_detached_body(environ)
            start_response("200 OK", [])
            return self._bodies[int(number)]
        start_response("200 OK", [("Content-Length", "3")])
        return [b"ok\n"]


class StreamReader:
    """A client that reads a response with a detached body."""

    def __init__(self, address: tuple[str, int], number: int = 0, version: str = "1.1") -> None:
        self.socket = socket.create_connection(address, WAIT_SECONDS)
        self.socket.sendall(f"GET /streams/{number} HTTP/{version}\r\nHost: a\r\n\r\n".encode())
        self._file = self.socket.makefile("rb")
        self.head = list(iter(self._file.readline, b"\r\n"))
        self.is_chunked = b"Transfer-Encoding: chunked\r\n" in self.head

    def read_chunk(self) -> bytes:
        """Read the next chunk; b"" is the end of the body (RFC 9112, section 7.1)."""
        length = int(self._file.readline(), 16)
        data = self._file.read(length)
        assert self._file.readline() == b"\r\n"
        return data

    def read_chunks(self, count: int) -> list[bytes]:
        return [self.read_chunk() for _ in range(count)]

    def read_line(self) -> bytes:
        return self._file.readline()

    def close(self) -> None:
        self._file.close()
        self.socket.close()


OpenReader = Callable[..., StreamReader]

GET = b"GET /now HTTP/1.1\r\nHost: a\r\n\r\n"
"""A request with a short response."""


def check_served(address: tuple[str, int]) -> None:
    """Check that another client is served."""
    with socket.create_connection(address, WAIT_SECONDS) as client:
        client.sendall(GET)
        with client.makefile("rb") as response:
            assert b"ok\n" in iter(response.readline, b"")
