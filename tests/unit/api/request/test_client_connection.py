"""The connection of a streaming client: connected, closed, or not reading."""

import socket
import sys
from collections.abc import Iterator

import pytest

from tests.support.http_client import wait_until
from tests.support.vanished_client import drop_packets
from vmapi.api.request.client_connection import ClientConnection


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The sockets of the server and of its client."""
    server, client = socket.socketpair()
    with server, client:
        yield server, client


def connection_on(server: socket.socket, write_timeout: float = 30.0) -> ClientConnection:
    return ClientConnection({"gunicorn.socket": server}, write_timeout=write_timeout)


def test_connected_client_is_connected_and_writable(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    server, client = sockets
    connection = connection_on(server)
    assert (connection.is_connected(), connection.wait_writable()) == (True, True)
    # unread data of the client changes nothing
    client.sendall(b"GET /next HTTP/1.1")
    assert (connection.is_connected(), connection.wait_writable()) == (True, True)


def test_closed_client_is_disconnected(sockets: tuple[socket.socket, socket.socket]) -> None:
    server, client = sockets
    connection = connection_on(server)
    client.close()
    assert (connection.is_connected(), connection.wait_writable()) == (False, False)


def test_client_that_reads_nothing_is_disconnected(
    sockets: tuple[socket.socket, socket.socket],
) -> None:
    server, client = sockets
    connection = connection_on(server, write_timeout=0.01)
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.sendall(b"x" * 10_000_000)
    assert (connection.is_connected(), connection.wait_writable()) == (True, False)
    assert connection.is_connected() is False
    # the client reads the beginning of the stream, and then its end
    while client.recv(1_000_000):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is that of Linux")
def test_client_that_vanishes_is_disconnected() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as client,
        listener.accept()[0] as server,
    ):
        connection = connection_on(server, write_timeout=0.3)
        drop_packets(client)
        server.sendall(b"news")
        wait_until("the end of the connection", lambda: not connection.is_connected())


def test_connection_without_socket_counts_as_connected() -> None:
    connection = ClientConnection({})
    assert (connection.is_connected(), connection.wait_writable()) == (True, True)
