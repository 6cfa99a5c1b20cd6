"""The API gateway: two versions of the API side by side, neighbours, keys and limits."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.gateways import ApiGateway
from tests.support.http_client import HttpResponse
from tests.support.loopback_server import LoopbackHandler, run_server
from tests.support.processes import Gunicorn, ServerProcess

KEY = "the-key-of-the-portal"
WITH_KEY = {"X-API-Key": KEY}
NEIGHBOURS = ("storage", "network", "billing")


class _EchoHandler(LoopbackHandler):
    """Responds with the path and the headers of the request."""

    def handle_any(self) -> None:
        body = json.dumps({"path": self.path, **dict(self.headers)}).encode()
        self.send_reply(200, [("Content-Type", "application/json")], body, truncate=False)


@pytest.fixture(scope="module")
def next_version(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    """An instance that serves two versions of the API."""
    server = Gunicorn(tmp_path_factory.mktemp("next"))
    try:
        server.start(app="tests.support.second_version:build_app()").wait_for("/readyz")
        yield server
    finally:
        server.stop()


@pytest.fixture
def build_gateway(
    cloud: Gunicorn, next_version: Gunicorn, tmp_path: Path, servers: list[ServerProcess]
) -> Iterator[Callable[[], ApiGateway]]:
    """Build a gateway with the key of one consumer; `start` starts it."""
    with run_server() as echo:
        echo.RequestHandlerClass = _EchoHandler

        def build() -> ApiGateway:
            ports = dict.fromkeys(NEIGHBOURS, echo.server_port)
            gateway = ApiGateway(tmp_path, cloud.port, next_version.port, ports)
            with gateway.keys.open("a") as keys:
                keys.write(f"{hashlib.sha256(KEY.encode()).hexdigest()} portal\n")
            servers.append(gateway)
            return gateway

        yield build


@pytest.fixture
def gateway(build_gateway: Callable[[], ApiGateway]) -> ApiGateway:
    return build_gateway().start()


def get(gateway: ApiGateway, path: str) -> HttpResponse:
    return gateway.call("GET", path, headers=WITH_KEY)


def test_instance_serves_two_versions(next_version: Gunicorn) -> None:
    """Without a gateway."""
    created = next_version.call(
        "POST", "/api/v2/vms", {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"}
    )
    assert created.headers["Location"] == f"/api/v2/vms/{created.json['id']}"
    assert next_version.call.get_json(f"/api/v1/vms/{created.json['id']}")["name"] == "web-1"


def test_versions_are_routed_side_by_side(gateway: ApiGateway) -> None:
    assert get(gateway, "/api/v1/health").json["version"] == "v1"
    assert get(gateway, "/api/v2/health").json == {"status": "pass"}
    problem = get(gateway, "/api/v2/nothing").check_problem(404, "not_found")
    assert problem["detail"].startswith("No resource has the URL /api/v2/nothing.")


@pytest.mark.parametrize("name", NEIGHBOURS)
def test_neighbour_gets_the_name_of_the_consumer_and_no_key(gateway: ApiGateway, name: str) -> None:
    headers = {**WITH_KEY, "X-Consumer-Username": "admin", "Authorization": "Bearer hunter2"}
    answer = gateway.call("GET", f"/api/{name}/v1/things", headers=headers)
    received = {header.lower(): value for header, value in answer.json.items()}
    assert received["path"] == f"/api/{name}/v1/things"
    assert received["x-consumer-username"] == "portal"
    assert received["authorization"] == "Bearer hunter2"
    assert "x-api-key" not in received


@pytest.mark.parametrize("headers", [{}, {"X-API-Key": "wrong"}, {"X-API-Key": ""}])
def test_request_without_a_valid_key_is_refused(
    gateway: ApiGateway, headers: dict[str, str]
) -> None:
    answer = gateway.call("GET", "/api/v1/vms", headers=headers)
    problem = answer.check_problem(401, "unauthenticated")
    assert problem["detail"] == "The gateway needs a valid key in X-API-Key."
    assert answer.headers["WWW-Authenticate"] == 'ApiKey realm="gateway"'


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/problems", "/problems/not_found"])
def test_documentation_needs_no_key(gateway: ApiGateway, path: str) -> None:
    assert gateway.call("GET", path).status == 200


@pytest.mark.parametrize("path", ["/metrics", "/api/v3/vms", "/api/storages/x"])
def test_other_urls_have_no_route(gateway: ApiGateway, path: str) -> None:
    problem = get(gateway, path).check_problem(404, "not_found")
    assert problem["detail"] == "The gateway has no route for this URL."


def test_maintenance_closes_both_versions_and_no_neighbour(gateway: ApiGateway) -> None:
    gateway.begin_maintenance()
    for path in ("/api/v1/vms", "/api/v2/vms", "/docs"):
        get(gateway, path).check_problem(503, "under_maintenance")
    assert get(gateway, "/api/billing/v1/things").status == 200
    gateway.end_maintenance()
    assert get(gateway, "/api/v2/vms").status == 200


def test_consumer_has_a_limit(build_gateway: Callable[[], ApiGateway]) -> None:
    gateway = build_gateway()
    gateway.replace("http_req_rate(1s)", "http_req_rate(1h)")
    gateway.replace("sc_http_req_rate(0) gt 100 ", "sc_http_req_rate(0) gt 2 ")
    gateway.start()
    answers = [get(gateway, "/api/v1/vms") for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 429]
    answers[2].check_problem(429, "rate_limited")
    assert answers[2].headers["Retry-After"] == "1"
