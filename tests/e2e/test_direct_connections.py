"""Clients that connect to gunicorn without a proxy: none of them delays another one.

gunicorn has two threads here. Requests of others have 30 s: each of 50 clients that hold a thread
would hold it for 5 s or more.
"""

import json
import re
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.http_client import HttpResponse, send_request
from tests.support.processes import Gunicorn

VMS = "/api/v1/vms"
CREATE_BODY = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"}
OTHERS_TIMEOUT_SECONDS = 30.0
HEAD = b"Host: a\r\nContent-Type: application/json\r\n"
POST = b"POST /api/v1/vms HTTP/1.1\r\n" + HEAD
GET_LARGE = b"GET /docs/assets/swagger-ui-bundle.js HTTP/1.1\r\nHost: a\r\n\r\n"

SLOW_CLIENTS = {
    "idle connection": (500, b""),
    "half a head": (50, b"GET /livez HTTP/1.1\r\nHost: a\r\n"),
    "half a body": (50, POST + b"Content-Length: 100\r\n\r\n{"),
    "half a chunked body": (50, POST + b"Transfer-Encoding: chunked\r\n\r\n4\r\n\r\n\r\n\r\n"),
    "too large body": (50, POST + b"Content-Length: 2000000\r\n\r\n{"),
    "unread body": (50, b"PUT /nothing HTTP/1.1\r\nContent-Length: 900000\r\n" + HEAD + b"\r\n{"),
    "closed connection left open": (50, b"GET /livez HTTP/1.0\r\n\r\n"),
    "half a pipelined request": (50, b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\nGET /livez"),
    "unread response": (50, GET_LARGE * 3),
    "event stream": (50, b"GET /api/v1/events HTTP/1.1\r\nHost: a\r\n\r\n"),
}


@contextmanager
def open_connections(server: Gunicorn, count: int, sent: bytes = b"") -> Iterator[None]:
    """Open connections that each send the same bytes, and then neither send nor read."""
    with ExitStack() as stack:
        for _ in range(count):
            client = stack.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(OTHERS_TIMEOUT_SECONDS)
            client.connect(("127.0.0.1", server.port))
            client.sendall(sent)
        yield


def call_in_time(server: Gunicorn, path: str) -> HttpResponse:
    connection = server.call.connect()
    connection.timeout = OTHERS_TIMEOUT_SECONDS
    try:
        return send_request(connection, "GET", path)
    finally:
        connection.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    limits = {"VMAPI_RATE_CHANGES": "off", "VMAPI_RATE_READS": "off", "VMAPI_RATE_ADDRESS": "off"}
    # each stream raises the limit of connections
    limits |= {"VMAPI_EVENT_STREAMS": "50"}
    server = Gunicorn(tmp_path_factory.mktemp("direct"), **limits)
    server.start("--threads", "2")
    try:
        server.wait_for("/readyz")
        yield server
    finally:
        server.stop()


@pytest.mark.parametrize("kind", SLOW_CLIENTS)
def test_slow_clients_delay_no_other_client(server: Gunicorn, kind: str) -> None:
    count, sent = SLOW_CLIENTS[kind]
    with open_connections(server, count, sent):
        for _ in range(3):
            assert call_in_time(server, VMS).status == 200
            assert call_in_time(server, "/livez").status == 200


def test_more_connections_than_the_limit_delay_no_other_client(server: Gunicorn) -> None:
    with open_connections(server, 1100):
        assert call_in_time(server, VMS).status == 200


def test_persistent_connection_serves_many_requests(server: Gunicorn) -> None:
    connection = server.call.connect()
    try:
        for body in (b"{", b" " * 900_000, b""):
            answer = send_request(connection, "POST", VMS, body, {"Content-Type": "text/plain"})
            assert (answer.status, answer.headers["Connection"]) in (
                (415, "keep-alive"),
                (400, "keep-alive"),
            )
    finally:
        connection.close()


def test_probes_respond_while_all_threads_wait(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn(VMAPI_MEMORY_FAULTS="slow=100:3600")
    server.start("--threads", "2").wait_for("/livez")
    with ExitStack() as stack:
        for number in range(2):
            slow = server.call.connect()
            stack.callback(slow.close)
            body = json.dumps({**CREATE_BODY, "name": f"web-{number}"})
            slow.request("POST", VMS, body, {"Content-Type": "application/json"})
        for path in ("/livez", "/api/v1/health"):
            assert call_in_time(server, path).status == 200
        assert call_in_time(server, "/readyz").json["dependencies"]["store"] == "ok"
    # a stop would wait for the requests
    server.kill()


def test_worker_without_open_files_keeps_its_requests(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn(VMAPI_MEMORY_FAULTS="slow=1:2", VMAPI_RATE_ADDRESS="off")
    server.start().wait_for("/livez")
    (worker,) = server.child_pids()
    with ExitStack() as stack:
        slow = server.call.connect()
        stack.callback(slow.close)
        create = threading.Thread(
            target=lambda: created.append(server.call("POST", VMS, CREATE_BODY))
        )
        created: list[HttpResponse] = []
        create.start()
        server.call("GET", "/livez")
        limit = len(list(Path(f"/proc/{worker}/fd").iterdir())) + 30
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (limit, limit))
        with open_connections(server, 200):
            refusal = "no connection can be accepted at present"
            line = server.wait_for_line(level="warning", message=refusal)
            assert line["reason"] == "Too many open files"
            assert call_in_time(server, "/livez").status == 200
            create.join()
        assert created[0].status in (201, 202)
        assert call_in_time(server, "/livez").status == 200
    assert server.child_pids() == [worker]
    assert [vm["name"] for vm in server.call.get_json(VMS)["items"]] == ["web-1"]
    assert server.read_log().count(refusal) == 1


@pytest.mark.usefixtures("new_interpreters")
def test_soft_limit_of_open_files_is_raised(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, soft), hard))
    try:
        server.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    server.wait_for("/livez")
    (worker,) = server.child_pids()
    limits = Path(f"/proc/{worker}/limits").read_text()
    assert re.search(rf"Max open files +{hard} +{hard} ", limits)
