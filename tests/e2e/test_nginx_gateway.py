"""nginx in front of a failing upstream: problems, recovery, no repeated changes."""

import json
import threading
from collections.abc import Callable, Iterator
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest

from tests.support.gateways import Nginx
from tests.support.http_client import WAIT_SECONDS
from tests.support.processes import Gunicorn

VMS = "/api/v1/vms"


class DroppingUpstream(ThreadingTCPServer):
    """An upstream that answers the first request of a connection and drops the second."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _DroppingHandler)
        self.paths: list[str] = []
        self.port = self.server_address[1]


class _DroppingHandler(BaseRequestHandler):
    def handle(self) -> None:
        self._receive()
        self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Request-ID: q\r\n\r\n")
        self._receive()

    def _receive(self) -> None:
        head = b""
        while b"\r\n\r\n" not in head and (chunk := self.request.recv(65536)):
            head += chunk
        if head:
            assert isinstance(self.server, DroppingUpstream)
            self.server.paths.append(head.decode().split()[1])


@pytest.fixture
def upstream() -> Iterator[DroppingUpstream]:
    with DroppingUpstream() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join(WAIT_SECONDS)


def test_nginx_recovers_after_a_crash_of_gunicorn(
    gunicorn: Callable[..., Gunicorn], nginx: Callable[[int], Nginx]
) -> None:
    server = gunicorn()
    server.start().wait_for("/readyz")
    front = nginx(server.port)
    front.wait_for("/readyz")
    server.kill()
    answer = front.call("GET", f"{VMS}?name=web-1", headers={"X-Request-ID": "during-crash"})
    assert answer.check_problem(502, "backend_error") == {
        "type": "/problems/backend_error",
        "title": "The cloud returned an error",
        "status": 502,
        "code": "backend_error",
        "detail": "vmapi does not respond. A change may have been made. Repeat it with the same "
        "Idempotency-Key; use a new key only after Idempotent-Replayed: true. Without a key, check "
        "the VM first.",
        "instance": VMS,
        "request_id": "during-crash",
    }
    server.start()
    front.wait_for("/readyz")
    assert front.call.get_json(VMS)["total"] == 0
    lines = (front.directory / "access.log").read_text().splitlines()
    line = next(entry for entry in map(json.loads, lines) if entry["request_id"] == "during-crash")
    assert (line["endpoint"], line["status"]) == (f"GET {VMS}", 502)


@pytest.mark.parametrize(("method", "times"), [("POST", 1), ("PATCH", 1), ("GET", 2)])
def test_nginx_repeats_idempotent_methods_only(
    upstream: DroppingUpstream, nginx: Callable[[int], Nginx], method: str, times: int
) -> None:
    """The case of GET shows that the test detects a repetition."""
    front = nginx(upstream.port)
    for number in range(100):
        # until a worker of nginx reuses its connection, which the upstream then drops
        answer = front.call(method, f"/{number}")
        count = upstream.paths.count(f"/{number}")
        if answer.status == 502 or count > 1:
            break
    assert count == times
    if method == "GET":
        assert answer.status == 200
    else:
        answer.check_problem(502, "backend_error")
