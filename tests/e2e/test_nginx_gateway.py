"""nginx and gunicorn between them: one is away, one is slow, and nothing is sent twice."""

import json
import threading
from collections.abc import Callable, Iterator
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest

from tests.support.http_client import WAIT_SECONDS
from tests.support.processes import Gunicorn, Nginx

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
        thread.join(WAIT_SECONDS)


def test_gunicorn_dies_and_comes_back(
    gunicorn: Callable[..., Gunicorn], nginx: Callable[[int], Nginx]
) -> None:
    server = gunicorn()
    server.start().wait_for("/readyz")
    front = nginx(server.port)
    front.wait_for("/readyz")
    server.kill()
    answer = front.call("GET", f"{VMS}?name=web-1", headers={"X-Request-ID": "while-away"})
    assert answer.check_problem(502, "backend_error") == {
        "type": "/problems/backend_error",
        "title": "The cloud returned an error",
        "status": 502,
        "code": "backend_error",
        "detail": "vmapi does not respond. A change may have been made: check the VM before you "
        "repeat it.",
        "instance": VMS,
        "request_id": "while-away",
    }
    server.start()
    front.wait_for("/readyz")
    assert front.call.get_json(VMS)["total"] == 0
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
        answer.check_problem(502, "backend_error")
