"""Whether a client is still there."""

import socket
from collections.abc import Iterator

import pytest

from vmapi.api.request import client_connection as connection
from vmapi.api.request.client_connection import Connection


@pytest.fixture
def pair() -> Iterator[tuple[Connection, socket.socket]]:
    """A connection, and the client at its other end."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Connection({"gunicorn.socket": ours}), theirs


def test_one_that_is_there(pair: tuple[Connection, socket.socket]) -> None:
    ours, theirs = pair
    assert (ours.is_there(), ours.reads()) == (True, True)
    # what it sends, nobody wants to know
    theirs.sendall(b"GET /next HTTP/1.1")
    assert (ours.is_there(), ours.reads()) == (True, True)


def test_one_that_has_hung_up(pair: tuple[Connection, socket.socket]) -> None:
    ours, theirs = pair
    theirs.close()
    assert (ours.is_there(), ours.reads()) == (False, False)


def test_one_that_reads_nothing(
    pair: tuple[Connection, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = pair
    assert ours._socket is not None
    ours._socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        ours._socket.sendall(b"x" * 10_000_000)
    monkeypatch.setattr(connection, "PATIENCE", 0.01)
    assert (ours.is_there(), ours.reads()) == (True, False)
    while not ours.reads():
        assert theirs.recv(1_000_000)


def test_what_a_server_does_not_show_is_taken_to_be_there() -> None:
    assert (Connection({}).is_there(), Connection({}).reads()) == (True, True)
