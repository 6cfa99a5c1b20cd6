"""Writes to a client that reads slowly: no byte is lost, and no write waits."""

import socket
from collections.abc import Iterator
from threading import Thread

import pytest

from tests.support.http_client import WAIT_SECONDS
from vmapi.api.request.client_connection import ClientConnection
from vmapi.server.client_socket import ClientSocket

LARGE_EVENT = bytes(range(256)) * 4_000
HEARTBEAT = b": heartbeat\n\n"


@pytest.fixture
def sockets() -> Iterator[tuple[ClientSocket, socket.socket]]:
    """The sockets of the server and of a client with a small receive buffer."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(WAIT_SECONDS)
        client.connect(listener.getsockname())
        with ClientSocket(listener.accept()[0]) as server:
            # a write is accepted in part
            server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            yield server, client


def receive(client: socket.socket, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        chunk = client.recv(65536)
        assert chunk
        received += chunk
    return bytes(received)


def test_write_sends_the_rest_of_an_earlier_one(
    sockets: tuple[ClientSocket, socket.socket],
) -> None:
    server, client = sockets
    server.sendall(LARGE_EVENT)
    unsent_bytes = server.unsent_bytes
    assert 0 < unsent_bytes < len(LARGE_EVENT)
    receive(client, len(LARGE_EVENT) - unsent_bytes)
    server.sendall(HEARTBEAT)
    assert server.unsent_bytes < unsent_bytes


def test_corked_socket_sends_all_writes_with_the_flush(
    sockets: tuple[ClientSocket, socket.socket],
) -> None:
    server, client = sockets
    server.is_corked = True
    blocks = [b"%d\n" % number for number in range(300)]
    for block in blocks:
        server.sendall(block)
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        client.recv(1)
    client.settimeout(WAIT_SECONDS)
    assert server.flush()
    assert receive(client, len(b"".join(blocks))) == b"".join(blocks)


def test_slow_reader_of_a_stream_gets_all_events_and_heartbeats(
    sockets: tuple[ClientSocket, socket.socket],
) -> None:
    server, client = sockets
    connection = ClientConnection({"gunicorn.socket": server})
    blocks = [LARGE_EVENT, HEARTBEAT] * 3

    def write_stream() -> None:
        for block in blocks:
            assert connection.wait_writable()
            assert server.unsent_bytes == 0
            server.sendall(block)
        while server.unsent_bytes:
            assert connection.is_connected()

    stream = Thread(target=write_stream)
    stream.start()
    assert receive(client, sum(map(len, blocks))) == b"".join(blocks)
    stream.join(WAIT_SECONDS)
    assert not stream.is_alive()


def test_silent_stream_sends_its_last_event_while_it_checks_the_connection(
    sockets: tuple[ClientSocket, socket.socket],
) -> None:
    server, client = sockets
    connection = ClientConnection({"gunicorn.socket": server})
    server.sendall(LARGE_EVENT)
    received = b""
    while len(received) < len(LARGE_EVENT):
        received += client.recv(65536)
        assert connection.is_connected()
    assert (received, server.unsent_bytes) == (LARGE_EVENT, 0)


def test_reader_that_hangs_up_during_an_event_is_disconnected(
    sockets: tuple[ClientSocket, socket.socket],
) -> None:
    server, client = sockets
    connection = ClientConnection({"gunicorn.socket": server})
    server.sendall(LARGE_EVENT)
    client.close()
    assert (connection.wait_writable(), connection.is_connected()) == (False, False)
