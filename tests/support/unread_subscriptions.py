"""GraphQL subscriptions of clients that vanish, read nothing, or read a byte a second."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.support.http_client import WAIT_SECONDS
from tests.support.vanished_client import drop_packets

SMALL_BUFFER = 4096
DOCUMENT = """subscription S%d {
  events(filter: {kind: [VM_CHANGED]}) { id kind vm { id name status metadata } } }"""


def open_subscription(port: int, number: int, receive_buffer: int | None = None) -> socket.socket:
    """Send a subscription with a separate document; read the head of the response."""
    connection = socket.socket()
    connection.settimeout(WAIT_SECONDS)
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.connect(("127.0.0.1", port))
    body = json.dumps({"query": DOCUMENT % number}).encode()
    head = (
        "POST /graphql HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        f"Accept: text/event-stream\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


@contextmanager
def read_events(port: int) -> Iterator[Iterator[Any]]:
    """Open a subscription, and iterate over its events."""
    with open_subscription(port, 0) as connection, connection.makefile("rb") as lines:
        data = (line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: "))
        yield (json.loads(text)["data"]["events"] for text in data)


@contextmanager
def unread_subscriptions(port: int, count: int) -> Iterator[None]:
    """Open subscriptions of each kind; their clients stay until the end of the context."""
    with ExitStack() as stack:
        buffers = [None] * count + [SMALL_BUFFER] * 2 * count
        connections = [
            stack.enter_context(open_subscription(port, number, buffer))
            for number, buffer in enumerate(buffers)
        ]
        for vanished in connections[:count]:
            drop_packets(vanished)
        is_ended = threading.Event()
        slow = connections[2 * count :]
        reading = threading.Thread(target=_read_slowly, args=(slow, is_ended))
        reading.start()
        stack.callback(reading.join)
        stack.callback(is_ended.set)
        yield


def _read_slowly(connections: list[socket.socket], is_ended: threading.Event) -> None:
    while not is_ended.wait(1):
        for connection in connections:
            try:
                connection.recv(1, socket.MSG_DONTWAIT)
            except OSError:
                # no byte has arrived, or the server has ended the connection
                continue
