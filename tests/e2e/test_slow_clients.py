"""Behind nginx slow clients hold no thread, whatever they are slow at. vmapi has two threads."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest

from tests.support.http_client import WAIT_SECONDS, wait_until
from tests.support.processes import Gunicorn, Nginx

VMS = "/api/v1/vms"
CLIENTS = 20
READERS = 4
LARGE = 24 * 1024 * 1024
BODY = b'{"name": "slow-1", "flavor": "m1.tiny", "image": "cirros", "start": true}'
HEAD = (
    f"POST {VMS} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    f"Content-Length: {len(BODY)}\r\nConnection: close\r\n\r\n"
).encode()


def start(
    gunicorn: Callable[..., Gunicorn], nginx: Callable[[int], Nginx]
) -> tuple[Gunicorn, Nginx]:
    server = gunicorn(VMAPI_THREADS="2")
    server.start().wait_for("/readyz")
    return server, nginx(server.port)


@contextmanager
def clients(front: Nginx, sent: bytes, count: int = CLIENTS) -> Iterator[list[socket.socket]]:
    """Connect many, each of which sends this and then waits."""
    with ExitStack() as stack:
        connected = []
        for _ in range(count):
            one = socket.create_connection(("127.0.0.1", front.port), WAIT_SECONDS)
            one.sendall(sent)
            connected.append(stack.enter_context(one))
        yield connected


def check_others_are_served(front: Nginx) -> None:
    for _ in range(CLIENTS):
        assert front.call.get_json(VMS)["total"] == 0


def check_goes_on(front: Nginx, one: socket.socket, rest: bytes) -> None:
    one.sendall(rest)
    assert one.recv(65536).startswith(b"HTTP/1.1 201 ")
    assert [vm["name"] for vm in front.call.get_json(VMS)["items"]] == ["slow-1"]


def test_headers_that_come_slowly(
    gunicorn: Callable[..., Gunicorn], nginx: Callable[[int], Nginx]
) -> None:
    _, front = start(gunicorn, nginx)
    with clients(front, HEAD[:-20]) as slow:
        check_others_are_served(front)
        check_goes_on(front, slow[0], HEAD[-20:] + BODY)


def test_a_body_that_comes_slowly(
    gunicorn: Callable[..., Gunicorn], nginx: Callable[[int], Nginx]
) -> None:
    _, front = start(gunicorn, nginx)
    with clients(front, HEAD + BODY[:-20]) as slow:
        check_others_are_served(front)
        check_goes_on(front, slow[0], BODY[-20:])


class Generous(ThreadingTCPServer):
    """An upstream whose answers are more than the kernel keeps for any two sockets."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Gift)
        self.done: list[int] = []
        self.port = self.server_address[1]


class _Gift(BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Generous)
        self.request.recv(65536)
        self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
        self.request.sendall(bytes(LARGE))
        self.server.done.append(1)


@pytest.fixture
def generous() -> Iterator[Generous]:
    with Generous() as upstream:
        thread = threading.Thread(target=upstream.serve_forever, args=(0.02,))
        thread.start()
        yield upstream
        upstream.shutdown()
        thread.join(WAIT_SECONDS)


def test_an_answer_that_is_read_slowly(generous: Generous, nginx: Callable[[int], Nginx]) -> None:
    front = nginx(generous.port)
    with clients(front, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", READERS) as slow:
        wait_until("all of it is sent", lambda: len(generous.done) == READERS)
        assert slow[0].recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
