"""Addresses of clients through nginx and HAProxy: forged headers have no effect."""

import sqlite3
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.support.gateways import Haproxy, Nginx
from tests.support.http_client import WAIT_SECONDS, send_request
from tests.support.processes import Gunicorn, ServerProcess

CLIENT = "127.0.0.9"
FORGED = "203.0.113.66"
FORGED_HEADERS = [
    {},
    {"X-Forwarded-For": FORGED},
    {"X-Forwarded-For": f"{FORGED}, {FORGED}"},
    {"X-Forwarded-For": f"{FORGED}, 127.0.0.1"},
    {"X_Forwarded_For": FORGED},
    {"Forwarded": f"for={FORGED}"},
    {"X-Real-IP": FORGED, "X-Client-IP": FORGED, "True-Client-IP": FORGED},
    {"X-Forwarded-For": f"{FORGED}\t", "X-Forwarded-Proto": "https", "X-Forwarded-Host": FORGED},
    {"X-Forwarded-For": "::1", "X-Forwarded-Port": "1", "X-Forwarded-Prefix": "/evil"},
    {"Connection": "X-Forwarded-For, close", "X-Forwarded-For": FORGED},
]


def audited_addresses(port: int, folder: Path) -> set[str]:
    """Send a request with each set of headers; return their addresses in the audit trail."""
    for number, headers in enumerate(FORGED_HEADERS):
        connection = HTTPConnection("127.0.0.1", port, WAIT_SECONDS, source_address=(CLIENT, 0))
        body = b'{"name": "web-%d", "flavor": "m1.tiny", "image": "cirros"}' % number
        request_headers = {"Content-Type": "application/json", **headers}
        assert send_request(connection, "POST", "/api/v1/vms", body, request_headers).status == 201
        connection.close()
    with sqlite3.connect(folder / "vmapi.sqlite3") as database:
        rows = database.execute("SELECT address FROM audit_entries").fetchall()
    database.close()
    assert len(rows) >= len(FORGED_HEADERS)
    return {address for (address,) in rows}


@pytest.mark.parametrize("gateway", [Nginx, Haproxy])
@pytest.mark.parametrize("proxies", ["0", "1"])
def test_forged_address_has_no_effect_behind_a_proxy(
    gunicorn: Callable[..., Gunicorn],
    servers: list[ServerProcess],
    tmp_path: Path,
    gateway: type[Nginx] | type[Haproxy],
    proxies: str,
) -> None:
    """Without VMAPI_PROXIES the address is that of the proxy, with it that of the client."""
    url = f"sqlite:///{tmp_path}/vmapi.sqlite3"
    server = gunicorn(VMAPI_DATABASE_URL=url, VMAPI_PROXIES=proxies)
    server.start().wait_for("/readyz")
    front = gateway(tmp_path, server.port)
    servers.append(front)
    front.start()
    assert audited_addresses(front.port, tmp_path) == {CLIENT if proxies == "1" else "127.0.0.1"}


@pytest.mark.parametrize("proxies", ["0", "1"])
def test_page_of_the_same_origin_may_send_changes(
    gunicorn: Callable[..., Gunicorn], nginx: Callable[[int], Nginx], proxies: str
) -> None:
    """Over plain HTTP, browsers identify a page by its origin with the port only."""
    server = gunicorn(VMAPI_PROXIES=proxies)
    server.start().wait_for("/readyz")
    front = nginx(server.port)
    for port, status in ((front.port, 201), (server.port, 403)):
        headers = {"Origin": f"http://localhost:{port}", "Host": f"localhost:{front.port}"}
        body = b'{"name": "web-1", "flavor": "m1.tiny", "image": "cirros"}'
        headers["Content-Type"] = "application/json"
        connection = HTTPConnection("127.0.0.1", front.port, WAIT_SECONDS)
        assert send_request(connection, "POST", "/api/v1/vms", body, headers).status == status
        connection.close()


def test_forged_address_has_no_effect_without_nginx(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    server = gunicorn(VMAPI_DATABASE_URL=f"sqlite:///{tmp_path}/vmapi.sqlite3")
    server.start().wait_for("/readyz")
    assert audited_addresses(server.port, tmp_path) == {CLIENT}
