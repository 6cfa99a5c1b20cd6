"""Connections that wait for their clients: timeouts, limits, and unread responses."""

import selectors
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from gunicorn.config import Config

from tests.support.http_client import wait_until
from vmapi.api.request.client_connection import WRITE_TIMEOUT_SECONDS
from vmapi.server import connection_poller
from vmapi.server.connection import Connection
from vmapi.server.connection_poller import ConnectionPoller

GET = b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n"
HALF_HEAD = b"GET /livez HTTP/1.1\r\nHost: a\r\n"
HALF_BODY = b"POST /vms HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"


class PollerHarness:
    """A poller with clients at socket pairs; the test is the thread that serves."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.served: list[Connection] = []
        self.rejected: list[Connection] = []
        self.streamed: list[Connection] = []
        self.closed: list[Connection] = []
        self.skipped_seconds = 0.0
        self.clients: list[socket.socket] = []
        self.poller = ConnectionPoller(
            self.selector,
            keepalive_seconds=60,
            max_head_bytes=1000,
            serve=self.served.append,
            reject=self.rejected.append,
            stream=self.streamed.append,
            on_close=self.closed.append,
            clock=self.clock,
        )

    def clock(self) -> float:
        return time.monotonic() + self.skipped_seconds

    @property
    def closed_count(self) -> int:
        return len(self.closed)

    def connect(self, sent: bytes = b"") -> socket.socket:
        server, client = socket.socketpair()
        client.settimeout(10)
        self.clients.append(client)
        client.sendall(sent)
        self.poller.add(Connection(Config(), server, "", ""))
        return client

    def poll(self) -> None:
        for key, _ in self.selector.select(0.01):
            key.data(key.fileobj)
        self.poller.close_expired()

    def poll_until(self, condition: Callable[[], Any]) -> None:
        def is_true() -> bool:
            self.poll()
            return bool(condition())

        wait_until("a state of the poller", is_true)

    def respond(self, response: bytes, *, keepalive: bool = True) -> None:
        """Respond to the oldest request that waits for a thread."""
        connection = self.served.pop(0)
        connection.hand_over_request()
        next(connection.parser)
        connection.sock.sendall(response)
        self.poller.finish(connection, keepalive)

    def close(self) -> None:
        for connection in self.served:
            self.poller.finish(connection, keepalive=False)
        while self.poller.close_oldest():
            pass
        for client in self.clients:
            client.close()
        self.selector.close()


@pytest.fixture
def build_harness() -> Iterator[Callable[[], PollerHarness]]:
    """Build a harness after the test has set the timeouts."""
    harnesses: list[PollerHarness] = []

    def build() -> PollerHarness:
        harnesses.append(PollerHarness())
        return harnesses[-1]

    yield build
    for harness in harnesses:
        harness.close()


@pytest.fixture
def harness(build_harness: Callable[[], PollerHarness]) -> PollerHarness:
    return build_harness()


@pytest.mark.parametrize("sent", [b"", HALF_HEAD, HALF_BODY])
@pytest.mark.parametrize("phase", ["HEAD", "BODY"])
def test_client_that_sends_too_slowly_is_disconnected(
    monkeypatch: pytest.MonkeyPatch,
    build_harness: Callable[[], PollerHarness],
    sent: bytes,
    phase: str,
) -> None:
    in_body = sent == HALF_BODY
    monkeypatch.setattr(connection_poller, f"{phase}_TIMEOUT_SECONDS", 0.05)
    harness = build_harness()
    client = harness.connect(sent)
    if (phase == "BODY") is in_body:
        harness.poll_until(lambda: harness.closed_count)
        assert client.recv(100) == b""
        assert harness.served == []
    else:
        # the other phase has its own time
        harness.skipped_seconds = 0.1
        harness.poll()
        assert harness.closed_count == 0


def test_byte_for_byte_request_is_served(harness: PollerHarness) -> None:
    client = harness.connect()
    for position in range(len(GET)):
        assert harness.served == []
        client.send(GET[position : position + 1])
        harness.poll()
    harness.poll_until(lambda: harness.served)


def test_pipelined_requests_are_served_in_order(harness: PollerHarness) -> None:
    client = harness.connect(GET * 2 + HALF_HEAD)
    for response in (b"first", b"second"):
        assert len(harness.served) == 1
        harness.respond(response)
        assert client.recv(100) == response
    assert harness.served == []
    client.sendall(b"\r\n")
    harness.poll_until(lambda: harness.served)


def test_client_that_expects_an_interim_response_gets_one(harness: PollerHarness) -> None:
    client = harness.connect(HALF_BODY[:-3] + b"Expect: 100-continue\r\n\r\n")
    assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.sendall(b"123456789")
    harness.poll_until(lambda: harness.served)


def test_head_without_an_end_is_rejected(harness: PollerHarness) -> None:
    client = harness.connect(b"GET /livez HTTP/1.1\r\n" + b"X-A: b\r\n" * 200)
    assert len(harness.rejected) == 1
    assert client.recv(100) == b""


def test_rest_of_a_response_is_sent_as_the_client_reads(harness: PollerHarness) -> None:
    client = harness.connect(GET)
    response = bytes(range(256)) * 40_000
    harness.respond(response, keepalive=False)
    received = bytearray()
    client.setblocking(False)

    def has_read_all() -> bool:
        try:
            received.extend(client.recv(1_000_000))
        except BlockingIOError:
            return False
        return len(received) == len(response)

    harness.poll_until(has_read_all)
    assert received == response


def test_client_that_reads_nothing_is_disconnected_silently(
    harness: PollerHarness,
) -> None:
    harness.connect(GET)
    # the last write of an event stream that has waited as long as allowed
    harness.served[0].sock.sendall(bytes(10_000_000))
    harness.skipped_seconds = WRITE_TIMEOUT_SECONDS
    harness.respond(b"0\r\n\r\n", keepalive=False)
    harness.poller.close_expired()
    assert harness.closed_count == 1


def test_client_that_keeps_a_closed_connection_open_is_disconnected(
    monkeypatch: pytest.MonkeyPatch, build_harness: Callable[[], PollerHarness]
) -> None:
    monkeypatch.setattr(connection_poller, "CLOSING_TIMEOUT_SECONDS", 0.05)
    harness = build_harness()
    client = harness.connect(GET)
    harness.respond(b"response", keepalive=False)
    assert (client.recv(100), client.recv(100)) == (b"response", b"")
    harness.poll_until(lambda: harness.closed_count == 1)


def test_unread_body_is_discarded_before_the_close(harness: PollerHarness) -> None:
    client = harness.connect(GET)
    harness.respond(b"response", keepalive=False)
    client.sendall(bytes(100_000))
    client.shutdown(socket.SHUT_WR)
    harness.poll_until(lambda: harness.closed_count == 1)
    assert client.recv(100) == b"response"


def test_oldest_connection_is_closed_first(harness: PollerHarness) -> None:
    oldest, newest = harness.connect(HALF_HEAD), harness.connect()
    assert harness.poller.close_oldest()
    assert oldest.recv(100) == b""
    newest.sendall(GET)
    harness.poll_until(lambda: harness.served)
    # a request in progress is not interrupted
    assert not harness.poller.close_oldest()


def test_memory_of_unfinished_requests_is_bounded(
    monkeypatch: pytest.MonkeyPatch, harness: PollerHarness
) -> None:
    monkeypatch.setattr(connection_poller, "MAX_HELD_BYTES", 100_000)
    idle = harness.connect()
    for _ in range(20):
        harness.connect(b"POST /vms HTTP/1.1\r\nContent-Length: 90000\r\n\r\n" + bytes(30_000))
    assert harness.closed_count == 17
    idle.sendall(GET)
    harness.poll_until(lambda: harness.served)


def test_memory_limit_closes_many_slow_clients_before_one_large_request(
    monkeypatch: pytest.MonkeyPatch, harness: PollerHarness
) -> None:
    monkeypatch.setattr(connection_poller, "MAX_HELD_BYTES", 100_000)
    head = b"POST /vms HTTP/1.1\r\nContent-Length: 90000\r\n\r\n"
    slow = [harness.connect(head + bytes(7_000)) for _ in range(12)]
    harness.connect(head + bytes(20_000))
    assert harness.closed_count == 1
    assert slow[0].recv(100) == b""


def test_stop_limits_the_phases_that_begin_after_it(harness: PollerHarness) -> None:
    clients = [harness.connect(GET) for _ in range(3)]
    harness.poller.limit_waits(harness.clock() + 10)
    for client, begun in zip(clients, (b"", HALF_HEAD, HALF_BODY), strict=True):
        # an event stream, for example, that ends because the worker stops
        client.sendall(begun)
        harness.respond(b"response")
        assert client.recv(100) == b"response"
        harness.poll()
    assert harness.closed_count == 0
    harness.skipped_seconds = 10
    harness.poller.close_expired()
    assert harness.closed_count == 3
