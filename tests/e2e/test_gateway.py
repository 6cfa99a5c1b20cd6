"""nginx and gunicorn between them: one is away, one is slow, and nothing is sent twice."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest

from tests.e2e.caller import PATIENCE, Caller
from tests.e2e.processes import Gunicorn, Nginx

VMS = "/api/v1/vms"


class Quitter(ThreadingTCPServer):
    """An upstream that answers the first request of each connection, and drops the second."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Visit)
        self.heard: list[str] = []
        self.port = self.server_address[1]


class _Visit(BaseRequestHandler):
    def handle(self) -> None:
        self._hear()
        self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Request-ID: q\r\n\r\n")
        self._hear()

    def _hear(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (more := self.request.recv(65536)):
            head += more
        if head:
            assert isinstance(self.server, Quitter)
            self.server.heard.append(head.decode().split()[1])


@pytest.fixture
def quitter() -> Iterator[Quitter]:
    with Quitter() as upstream:
        thread = threading.Thread(target=upstream.serve_forever, args=(0.02,))
        thread.start()
        yield upstream
        upstream.shutdown()
        thread.join(PATIENCE)


def test_gunicorn_dies_and_comes_back(
    gunicorn: Callable[..., Gunicorn], nginx: Callable[[int], Nginx]
) -> None:
    server = gunicorn()
    server.start().wait_for("/readyz")
    front = nginx(server.port)
    front.wait_for("/readyz")
    server.kill()
    answer = front.call("GET", f"{VMS}?name=web-1", headers={"X-Request-ID": "while-away"})
    assert answer.problem(502, "backend_error") == {
        "type": "/problems/backend_error",
        "title": "The cloud failed",
        "status": 502,
        "code": "backend_error",
        "detail": "vmapi does not answer. A change may have been made: look at the VM before you "
        "send it again.",
        "instance": VMS,
        "request_id": "while-away",
    }
    server.start()
    front.wait_for("/readyz")
    assert front.call.get(VMS)["total"] == 0
    logged = (front.directory / "access.log").read_text().splitlines()
    away = next(line for line in map(json.loads, logged) if line["request_id"] == "while-away")
    assert (away["endpoint"], away["status"]) == (f"GET {VMS}", 502)


@pytest.mark.parametrize(("method", "times"), [("POST", 1), ("PATCH", 1), ("GET", 2)])
def test_only_what_may_be_repeated_is(
    quitter: Quitter, nginx: Callable[[int], Nginx], method: str, times: int
) -> None:
    """GET shows that the test would see a repetition."""
    front = nginx(quitter.port)
    for number in range(100):
        # until a worker of nginx uses its connection again, and it is dropped
        answer = front.call(method, f"/{number}")
        heard = quitter.heard.count(f"/{number}")
        if answer.status == 502 or heard > 1:
            break
    assert heard == times
    if method == "GET":
        assert answer.status == 200
    else:
        answer.problem(502, "backend_error")


def test_slow_clients_hold_no_thread(
    gunicorn: Callable[..., Gunicorn], nginx: Callable[[int], Nginx]
) -> None:
    """Ten clients have sent half of a request, and vmapi has two threads."""
    server = gunicorn(VMAPI_THREADS="2")
    server.start().wait_for("/readyz")
    front = nginx(server.port)
    body = b'{"name": "slow-1", "flavor": "m1.tiny", "image": "cirros", "start": true}'
    head = f"POST {VMS} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    sent = f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
    with ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(("127.0.0.1", front.port), PATIENCE))
            for _ in range(10)
        ]
        for connection in slow:
            connection.sendall(sent[:-20])
        for _ in range(20):
            assert front.call.get(VMS)["total"] == 0
        slow[0].sendall(sent[-20:])
        assert slow[0].recv(65536).startswith(b"HTTP/1.1 201 ")
    assert _names(front.call) == ["slow-1"]


def _names(call: Caller) -> list[str]:
    return [vm["name"] for vm in call.get(VMS)["items"]]
