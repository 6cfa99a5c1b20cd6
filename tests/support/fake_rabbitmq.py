"""A fake RabbitMQ on loopback that confirms messages, rejects them or stays silent."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

CONNECTION_START = struct.pack(">I5sI5s", 5, b"PLAIN", 5, b"en_US")
REPLIES = {
    # connection: tune, open, close; channel: open, close; confirm: select; exchange: declare
    (10, 11): (10, 30, struct.pack(">HIH", 2047, 131072, 0)),
    (10, 40): (10, 41, b"\0"),
    (10, 50): (10, 51, b""),
    (20, 10): (20, 11, struct.pack(">I", 0)),
    (20, 40): (20, 41, b""),
    (85, 10): (85, 11, b""),
    (40, 10): (40, 11, b""),
    # queue: declare, bind
    (50, 10): (50, 11, b"\x05vmapi" + struct.pack(">II", 0, 0)),
    (50, 20): (50, 21, b""),
}
"""The reply to each method of AMQP 0-9-1, by the numbers of class and method."""
DECLARE, PUBLISH = (50, 10), (60, 40)


class FakeBroker:
    """Speaks the part of AMQP 0-9-1 that a publisher needs.

    With `is_silent` the broker confirms nothing, with `rejects` it rejects every message, with a
    `declare_error` every queue. `request_count` counts declarations and messages,
    `confirmed_count` the confirmed messages.
    """

    def __init__(self, listening: socket.socket) -> None:
        self.url = f"amqp://guest:hunter2@127.0.0.1:{listening.getsockname()[1]}//"
        self.is_silent = self.rejects = False
        self.declare_error: tuple[int, bytes] | None = None
        self.connection_count = self.request_count = self.confirmed_count = 0
        self._listening = listening

    def serve(self) -> None:
        """Serve connections until the socket is closed."""
        while True:
            try:
                line = self._listening.accept()[0]
            except OSError:
                return
            self.connection_count += 1
            Thread(target=self._handle, args=(line,), daemon=True).start()

    def _handle(self, line: socket.socket) -> None:
        with line, line.makefile("rb") as read, suppress(OSError, struct.error):
            read.read(8)
            _send_frame(line, 0, 10, 10, b"\0\x09" + struct.pack(">I", 0) + CONNECTION_START)
            tag = 0
            while True:
                kind, channel, size = struct.unpack(">BHI", read.read(7))
                payload = read.read(size)
                read.read(1)
                if kind != 1:
                    continue
                method = struct.unpack(">HH", payload[:4])
                if method == PUBLISH:
                    tag += 1
                    self._confirm(line, channel, tag)
                elif method == DECLARE and self.declare_error is not None:
                    self.request_count += 1
                    code, text = self.declare_error
                    arguments = struct.pack(">HB", code, len(text)) + text
                    _send_frame(line, channel, 20, 40, arguments + struct.pack(">HH", *DECLARE))
                elif method in REPLIES:
                    _send_frame(line, channel, *REPLIES[method])

    def _confirm(self, line: socket.socket, channel: int, tag: int) -> None:
        self.request_count += 1
        if not self.is_silent:
            self.confirmed_count += not self.rejects
            _send_frame(line, channel, 60, 120 if self.rejects else 80, struct.pack(">QB", tag, 0))


def _send_frame(line: socket.socket, channel: int, of: int, method: int, arguments: bytes) -> None:
    payload = struct.pack(">HH", of, method) + arguments
    line.sendall(struct.pack(">BHI", 1, channel, len(payload)) + payload + b"\xce")


@contextmanager
def run_fake_broker() -> Iterator[FakeBroker]:
    """Serve on a free port while the block lasts."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        broker = FakeBroker(listening)
        serving = Thread(target=broker.serve, daemon=True)
        serving.start()
        try:
            yield broker
        finally:
            # closing it alone does not end an accept
            listening.shutdown(socket.SHUT_RDWR)
            serving.join()
