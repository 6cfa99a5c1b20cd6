"""From where a client asks, through the real nginx: what it says of itself counts for nothing."""

import sqlite3
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.support.http_client import WAIT_SECONDS, send_request
from tests.support.processes import Gunicorn, Nginx

CLIENT = "127.0.0.9"
FORGED = "203.0.113.66"
LIES = [
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


def told(port: int, folder: Path) -> set[str]:
    """Return from where each of these lies came, by the audit trail."""
    for number, headers in enumerate(LIES):
        connection = HTTPConnection("127.0.0.1", port, WAIT_SECONDS, source_address=(CLIENT, 0))
        body = b'{"name": "web-%d", "flavor": "m1.tiny", "image": "cirros"}' % number
        sent = {"Content-Type": "application/json", **headers}
        assert send_request(connection, "POST", "/api/v1/vms", body, sent).status == 201
        connection.close()
    with sqlite3.connect(folder / "vmapi.sqlite3") as database:
        found = database.execute("SELECT address FROM audit_entries").fetchall()
    database.close()
    assert len(found) >= len(LIES)
    return {address for (address,) in found}


@pytest.mark.parametrize("proxies", ["0", "1"])
def test_a_forged_address_does_nothing(
    gunicorn: Callable[..., Gunicorn],
    nginx: Callable[[int], Nginx],
    tmp_path: Path,
    proxies: str,
) -> None:
    """Without VMAPI_PROXIES it is nginx that asks; with it, whoever asked nginx."""
    url = f"sqlite:///{tmp_path}/vmapi.sqlite3"
    server = gunicorn(VMAPI_DATABASE_URL=url, VMAPI_PROXIES=proxies)
    server.start().wait_for("/readyz")
    front = nginx(server.port)
    assert told(front.port, tmp_path) == {CLIENT if proxies == "1" else "127.0.0.1"}


@pytest.mark.parametrize("proxies", ["0", "1"])
def test_a_page_of_the_same_origin_may_change_things(
    gunicorn: Callable[..., Gunicorn], nginx: Callable[[int], Nginx], proxies: str
) -> None:
    """Over plain HTTP no browser says more of a page's site than its origin, port and all."""
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


def test_nor_does_it_at_gunicorn_itself(gunicorn: Callable[..., Gunicorn], tmp_path: Path) -> None:
    server = gunicorn(VMAPI_DATABASE_URL=f"sqlite:///{tmp_path}/vmapi.sqlite3")
    server.start().wait_for("/readyz")
    assert told(server.port, tmp_path) == {CLIENT}
