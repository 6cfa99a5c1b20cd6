"""Whether a client is still there."""

import socket
from collections.abc import Iterator

import pytest

from vmapi.api.request import client_connection as connection
from vmapi.api.request.client_connection import ClientConnection


@pytest.fixture
def pair() -> Iterator[tuple[ClientConnection, socket.socket]]:
    """A connection, and the client at its other end."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ClientConnection({"gunicorn.socket": ours}), theirs


def test_one_that_is_there(pair: tuple[ClientConnection, socket.socket]) -> None:
    ours, theirs = pair
    assert (ours.is_connected(), ours.wait_writable()) == (True, True)
    # what it sends, nobody wants to know
    theirs.sendall(b"GET /next HTTP/1.1")
    assert (ours.is_connected(), ours.wait_writable()) == (True, True)


def test_one_that_has_hung_up(pair: tuple[ClientConnection, socket.socket]) -> None:
    ours, theirs = pair
    theirs.close()
    assert (ours.is_connected(), ours.wait_writable()) == (False, False)


def test_one_that_reads_nothing(
    pair: tuple[ClientConnection, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pair
    assert ours._socket is not None
    ours._socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        ours._socket.sendall(b"x" * 10_000_000)
    monkeypatch.setattr(connection, "WRITE_TIMEOUT_SECONDS", 0.01)
    assert (ours.is_connected(), ours.wait_writable()) == (True, False)
    while not ours.wait_writable():
        assert theirs.recv(1_000_000)


def test_what_a_server_does_not_show_is_taken_to_be_there() -> None:
    assert (ClientConnection({}).is_connected(), ClientConnection({}).wait_writable()) == (
        True,
        True,
    )
