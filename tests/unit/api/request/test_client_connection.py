"""The connection of a client: its checks for a hang-up, and for a client that does not read."""

import socket
from collections.abc import Iterator

import pytest

from vmapi.api.request import client_connection
from vmapi.api.request.client_connection import ClientConnection


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's end and the client's end of a connection."""
    server, client = socket.socketpair()
    with server, client:
        yield server, client


@pytest.fixture
def connection(sockets: tuple[socket.socket, socket.socket]) -> ClientConnection:
    return ClientConnection({"gunicorn.socket": sockets[0]})


@pytest.fixture
def client(sockets: tuple[socket.socket, socket.socket]) -> socket.socket:
    return sockets[1]


def test_connected_client_can_be_written_to(
    connection: ClientConnection, client: socket.socket
) -> None:
    assert (connection.is_connected(), connection.wait_writable()) == (True, True)
    # data from the client changes nothing
    client.sendall(b"GET /next HTTP/1.1")
    assert (connection.is_connected(), connection.wait_writable()) == (True, True)


def test_client_that_has_hung_up_is_not_connected(
    connection: ClientConnection, client: socket.socket
) -> None:
    client.close()
    assert (connection.is_connected(), connection.wait_writable()) == (False, False)


def test_client_that_does_not_read_is_not_writable(
    connection: ClientConnection,
    sockets: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server, client = sockets
    server.setblocking(False)
    with pytest.raises(BlockingIOError):
        server.sendall(b"x" * 10_000_000)
    monkeypatch.setattr(client_connection, "WRITE_TIMEOUT_SECONDS", 0.01)
    assert (connection.is_connected(), connection.wait_writable()) == (True, False)
    while not connection.wait_writable():
        assert client.recv(1_000_000)


def test_client_of_another_server_counts_as_connected() -> None:
    connection = ClientConnection({})
    assert (connection.is_connected(), connection.wait_writable()) == (True, True)
