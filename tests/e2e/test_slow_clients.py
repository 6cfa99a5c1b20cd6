"""Slow clients behind nginx occupy no thread of vmapi, which has two threads here."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest

from tests.support.gateways import Nginx
from tests.support.http_client import WAIT_SECONDS, wait_until
from tests.support.processes import Gunicorn

VMS = "/api/v1/vms"
SLOW_CLIENTS = 20
SLOW_READERS = 4
RESPONSE_BYTES = 24 * 1024 * 1024
BODY = b'{"name": "slow-1", "flavor": "m1.tiny", "image": "cirros", "start": true}'
HEAD = (
    f"POST {VMS} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    f"Content-Length: {len(BODY)}\r\nConnection: close\r\n\r\n"
).encode()


def start_servers(
    gunicorn: Callable[..., Gunicorn], nginx: Callable[[int], Nginx]
) -> tuple[Gunicorn, Nginx]:
    server = gunicorn(VMAPI_THREADS="2")
    server.start().wait_for("/readyz")
    return server, nginx(server.port)


@contextmanager
def clients(front: Nginx, sent: bytes, count: int = SLOW_CLIENTS) -> Iterator[list[socket.socket]]:
    """Open connections that each send the same bytes and then wait."""
    with ExitStack() as stack:
        connections = []
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", front.port), WAIT_SECONDS)
            connection.sendall(sent)
            connections.append(stack.enter_context(connection))
        yield connections


def check_others_are_served(front: Nginx) -> None:
    for _ in range(SLOW_CLIENTS):
        assert front.call.get_json(VMS)["total"] == 0


def check_completes(front: Nginx, connection: socket.socket, rest: bytes) -> None:
    connection.sendall(rest)
    assert connection.recv(65536).startswith(b"HTTP/1.1 201 ")
    assert [vm["name"] for vm in front.call.get_json(VMS)["items"]] == ["slow-1"]


def test_slow_headers_occupy_no_thread(
    gunicorn: Callable[..., Gunicorn], nginx: Callable[[int], Nginx]
) -> None:
    _, front = start_servers(gunicorn, nginx)
    with clients(front, HEAD[:-20]) as slow:
        check_others_are_served(front)
        check_completes(front, slow[0], HEAD[-20:] + BODY)


def test_slow_body_occupies_no_thread(
    gunicorn: Callable[..., Gunicorn], nginx: Callable[[int], Nginx]
) -> None:
    _, front = start_servers(gunicorn, nginx)
    with clients(front, HEAD + BODY[:-20]) as slow:
        check_others_are_served(front)
        check_completes(front, slow[0], BODY[-20:])


class LargeResponseUpstream(ThreadingTCPServer):
    """An upstream with responses larger than the socket buffers of the kernel."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _LargeResponseHandler)
        self.completed: list[int] = []
        self.port = self.server_address[1]


class _LargeResponseHandler(BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, LargeResponseUpstream)
        self.request.recv(65536)
        self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % RESPONSE_BYTES)
        self.request.sendall(bytes(RESPONSE_BYTES))
        self.server.completed.append(1)


@pytest.fixture
def upstream() -> Iterator[LargeResponseUpstream]:
    with LargeResponseUpstream() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(WAIT_SECONDS)


def test_slow_reader_does_not_block_the_upstream(
    upstream: LargeResponseUpstream, nginx: Callable[[int], Nginx]
) -> None:
    front = nginx(upstream.port)
    with clients(front, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", SLOW_READERS) as slow:
        wait_until("the complete responses", lambda: len(upstream.completed) == SLOW_READERS)
        assert slow[0].recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
