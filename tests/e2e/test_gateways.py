"""nginx and HAProxy alike: maintenance, limits, problems, addresses, keep-alive, events."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.support.gateways import Haproxy, Nginx
from tests.support.http_client import (
    WAIT_SECONDS,
    HttpResponse,
    send_raw,
    send_request,
    wait_until,
)
from tests.support.loopback_server import LoopbackHandler, run_server
from tests.support.processes import Gunicorn, ServerProcess, free_port
from vmapi.api.middleware.security_headers import SECURITY_HEADERS

VMS = "/api/v1/vms"
VM = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"}
AnyGateway = Nginx | Haproxy
BuildGateway = Callable[[int], AnyGateway]
NGINX_RATE = ("rate=1000r/s;", "rate=1r/m;"), ("burst=2000 nodelay;", "burst=1 nodelay;")
HAPROXY_RATE = (("gt 10000 ", "gt 2 "),)


@pytest.fixture(params=[Nginx, Haproxy])
def gateway(
    request: pytest.FixtureRequest, tmp_path: Path, servers: list[ServerProcess]
) -> BuildGateway:
    """Build a proxy in front of a port; `start` starts it."""

    def build(upstream: int) -> AnyGateway:
        server: AnyGateway = request.param(tmp_path, upstream)
        servers.append(server)
        return server

    return build


@pytest.fixture
def opened(gateway: BuildGateway, cloud: Gunicorn) -> AnyGateway:
    """A proxy in front of `cloud`."""
    return gateway(cloud.port).start()


def check_gateway_problem(
    answer: HttpResponse, status: int, code: str, retry_after: str | None
) -> None:
    """Check a problem of the proxy itself."""
    problem = answer.check_problem(status, code)
    assert problem["instance"] == VMS
    for name, value in {"Cache-Control": "no-store", **SECURITY_HEADERS}.items():
        assert answer.headers[name] == value
    assert answer.headers["Retry-After"] == retry_after


def test_maintenance_is_a_problem_until_it_ends(opened: AnyGateway) -> None:
    opened.begin_maintenance()
    for method in ("GET", "POST"):
        answer = opened.call(method, f"{VMS}?name=x", VM if method == "POST" else None)
        check_gateway_problem(answer, 503, "under_maintenance", "60")
        assert answer.json["detail"] == (
            "vmapi is closed for maintenance. Nothing was done. Repeat the request later."
        )
    opened.end_maintenance()
    assert opened.call("GET", f"{VMS}?name=x").status == 200


def test_unreachable_vmapi_is_a_problem_to_repeat(gateway: BuildGateway) -> None:
    front = gateway(free_port()).start()
    answer = front.call("GET", VMS, headers={"X-Request-ID": "from-client"})
    status, code = (
        (502, "backend_error") if isinstance(front, Nginx) else (503, "store_unavailable")
    )
    check_gateway_problem(answer, status, code, "2")
    assert answer.json["request_id"] == "from-client"


class _SilentHandler(LoopbackHandler):
    """Responds to the probe of HAProxy only."""

    def handle_any(self) -> None:
        if self.path == "/readyz":
            self.send_reply(200, [], b"", truncate=False)
        else:
            self.connection.recv(1)


@pytest.fixture
def silent_upstream() -> Iterator[int]:
    with run_server() as server:
        server.RequestHandlerClass = _SilentHandler
        yield server.server_port


def test_vmapi_without_a_response_is_a_timeout(gateway: BuildGateway, silent_upstream: int) -> None:
    front = gateway(silent_upstream)
    if isinstance(front, Nginx):
        front.replace("proxy_read_timeout    120s;", "proxy_read_timeout 1s;")
    else:
        front.replace("timeout server          120s", "timeout server 1s")
    answer = front.start().call("POST", VMS, VM)
    check_gateway_problem(answer, 504, "backend_timeout", "2")


def test_large_body_is_refused(opened: AnyGateway) -> None:
    """The client waits for the response before it sends the body."""
    length = {"Content-Length": "2000000", "Expect": "100-continue"}
    answer = opened.call("POST", VMS, headers=length)
    check_gateway_problem(answer, 413, "payload_too_large", None)
    assert answer.json["detail"] == "The body may have at most 1048576 bytes."


def test_flood_of_one_address_is_refused(gateway: BuildGateway, cloud: Gunicorn) -> None:
    front = gateway(cloud.port)
    for old, new in NGINX_RATE if isinstance(front, Nginx) else HAPROXY_RATE:
        front.replace(old, new)
    front.start()
    answers = [front.call("GET", VMS) for _ in range(3)]
    assert [answer.status for answer in answers[:2]] == [200, 200]
    check_gateway_problem(answers[2], 429, "rate_limited", "1")


@pytest.mark.parametrize("path", [f"/{'a' * 20_000}", f"{VMS}?name={'a' * 9_000}"])
def test_long_url_is_a_problem(opened: AnyGateway, path: str) -> None:
    answer = opened.call("GET", path)
    answer.check_problem(400, "malformed_request")


def test_request_without_http_is_refused(opened: AnyGateway) -> None:
    """HAProxy 2.6 has a fixed text for it."""
    status, headers, body = send_raw(opened.port, b"nonsense\r\n\r\n")
    assert status == 400
    if isinstance(opened, Nginx):
        assert json.loads(body)["code"] == "malformed_request"
    else:
        assert headers["Content-Type"] == "text/html"


def test_connection_serves_many_requests(opened: AnyGateway) -> None:
    with closing(opened.call.connect()) as connection:
        ports = set()
        for _ in range(3):
            assert send_request(connection, "GET", VMS).status == 200
            assert isinstance(connection.sock, socket.socket)
            ports.add(connection.sock.getsockname()[1])
    assert len(ports) == 1


def test_event_arrives_while_the_stream_is_open(opened: AnyGateway) -> None:
    with closing(HTTPConnection("127.0.0.1", opened.port, timeout=WAIT_SECONDS)) as connection:
        connection.request("GET", "/api/v1/events?kind=vm.created")
        stream = connection.getresponse()
        assert stream.readline() == b"retry: 3000\n"
        created = opened.call("POST", VMS, {**VM, "name": f"events-{opened.log.stem}"})
        line = wait_until("the event", lambda: _read_data(stream.readline()))
        assert line["vm"]["id"] == created.json["id"]


def _read_data(line: bytes) -> dict[str, dict[str, str]] | None:
    return json.loads(line[6:]) if line.startswith(b"data: ") else None
