"""Many event streams, read by one thread."""

import resource
import selectors
import socket
import time
from collections.abc import Callable, Iterable

from tests.support.http_client import WAIT_SECONDS

SPARE_FILES = 500
EVENTS_PATH = "/api/v1/events"
BUSY_STATUS = b"503"
"""The status of a server with a slow database: a client connects again."""


class CrowdStream:
    """One stream of the crowd, over one connection or several."""

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.ids: list[str] = []
        self.text = b""
        self.status = b""
        self.is_ended = False
        self.received = b""

    def feed(self, received: bytes) -> None:
        """Take bytes of the response: its head, and complete chunks (RFC 9112, section 7.1)."""
        self.received += received
        if not self.status:
            head, end, rest = self.received.partition(b"\r\n\r\n")
            if not end:
                return
            self.status, self.received = head.split(b" ")[1], rest
        while not self.is_ended:
            line, end, rest = self.received.partition(b"\r\n")
            length = int(line, 16) if end else 0
            if not end or len(rest) < length + 2:
                return
            self.is_ended = length == 0
            self._read_text(rest[:length])
            self.received = rest[length + 2 :]

    def _read_text(self, text: bytes) -> None:
        self.text += text
        for block in text.split(b"\n\n"):
            if block.startswith(b"event: ") and b"\nid: " in block:
                self.ids.append(block.rpartition(b"\nid: ")[2].decode())

    def forget_response(self) -> None:
        """Prepare for the next response; the ids of the events stay."""
        self.status = self.received = b""


class StreamCrowd:
    """Clients that read event streams of one server."""

    def __init__(self, port: int, count: int) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (min(hard, max(soft, count + SPARE_FILES)), hard)
        )
        self._port = port
        self._selector = selectors.DefaultSelector()
        self.streams = [CrowdStream() for _ in range(count)]
        self.refused_count = 0

    def connect(self, streams: Iterable[CrowdStream]) -> None:
        """Open streams, after the last event that each has received."""
        for stream in streams:
            stream.forget_response()
            stream.socket = socket.create_connection(("127.0.0.1", self._port), WAIT_SECONDS)
            last = f"Last-Event-ID: {stream.ids[-1]}\r\n" if stream.ids else ""
            stream.socket.sendall(f"GET {EVENTS_PATH} HTTP/1.1\r\nHost: a\r\n{last}\r\n".encode())
            self._selector.register(stream.socket, selectors.EVENT_READ, stream)

    def disconnect(self, streams: Iterable[CrowdStream]) -> None:
        """Close connections, maybe in the middle of an event."""
        for stream in streams:
            assert stream.socket is not None
            self._selector.unregister(stream.socket)
            stream.socket.close()
            stream.socket = None

    def read(self, seconds: float = 0.0) -> None:
        """Read the bytes that have arrived."""
        for key, _ in self._selector.select(seconds):
            assert isinstance(key.fileobj, socket.socket)
            received = key.fileobj.recv(65536)
            key.data.feed(received)
            if key.data.status == BUSY_STATUS:
                self.refused_count += 1
                self.disconnect([key.data])
                self.connect([key.data])
                continue
            assert received or key.data.is_ended, (key.data.status, key.data.text)
            if key.data.is_ended:
                self.disconnect([key.data])

    def read_until(self, condition: Callable[[CrowdStream], bool]) -> None:
        """Read until a condition holds for all streams. Raises TimeoutError."""
        deadline = time.monotonic() + WAIT_SECONDS
        while missing := [stream for stream in self.streams if not condition(stream)]:
            if time.monotonic() > deadline:
                received = [stream.status + stream.received for stream in missing[:3]]
                raise TimeoutError(f"{len(missing)} of {len(self.streams)} streams: {received}")
            self.read(0.1)

    def close(self) -> None:
        """Close all connections."""
        self.disconnect(stream for stream in self.streams if stream.socket is not None)
        self._selector.close()
