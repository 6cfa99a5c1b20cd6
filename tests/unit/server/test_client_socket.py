"""Writes to a client that reads slowly: no byte is lost, and no write waits."""

import socket
from collections.abc import Iterator

import pytest

from tests.support.http_client import WAIT_SECONDS
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


def test_no_timeout_makes_a_read_wait(sockets: tuple[ClientSocket, socket.socket]) -> None:
    server, _ = sockets
    server.settimeout(WAIT_SECONDS)
    with pytest.raises(BlockingIOError):
        server.recv(1)


def test_corked_socket_sends_all_writes_at_the_end_of_the_block(
    sockets: tuple[ClientSocket, socket.socket],
) -> None:
    server, client = sockets
    blocks = [b"%d\n" % number for number in range(300)]
    with server.corked():
        for block in blocks:
            server.sendall(block)
        client.setblocking(False)
        with pytest.raises(BlockingIOError):
            client.recv(1)
    client.settimeout(WAIT_SECONDS)
    assert receive(client, len(b"".join(blocks))) == b"".join(blocks)


def test_corked_socket_sends_nothing_of_a_block_that_fails(
    sockets: tuple[ClientSocket, socket.socket],
) -> None:
    server, client = sockets

    def send_and_fail() -> None:
        server.sendall(b"HTTP/1.1 200 OK\r\n")
        raise RuntimeError

    with pytest.raises(RuntimeError), server.corked():
        send_and_fail()
    assert server.flush()
    server.sendall(HEARTBEAT)
    assert client.recv(65536) == HEARTBEAT
