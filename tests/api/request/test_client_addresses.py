"""Client addresses in the audit trail: set by trusted proxies only."""

from collections.abc import Callable

import pytest
from flask import Flask, request

from tests.support.api_harness import BASE, CREATE_BODY
from tests.support.audit_rows import audit_rows

PEER = "192.0.2.1"
CLIENT = "198.51.100.7"
FORGED = "203.0.113.66"


def audited_addresses(app: Flask, peer: str | None, **headers: str) -> set[str]:
    """Return the client address of a create in the audit trail."""
    response = app.test_client().post(
        f"{BASE}/vms",
        json=CREATE_BODY,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        environ_overrides={"REMOTE_ADDR": peer},
    )
    assert response.status_code == 201, response.text
    return {row.address for row in audit_rows(app)}


@pytest.mark.parametrize(
    ("proxies", "forwarded_for", "address"),
    [
        (0, None, PEER),
        (0, FORGED, PEER),
        (0, f"{FORGED}, {CLIENT}", PEER),
        (1, CLIENT, CLIENT),
        (1, f"{FORGED}, {CLIENT}", CLIENT),
        (1, f"{FORGED}, {FORGED}, {CLIENT}", CLIENT),
        (1, None, PEER),
        (1, "2001:db8::7", "2001:db8::7"),
        (2, f"{FORGED}, {CLIENT}, 192.0.2.9", CLIENT),
        (2, CLIENT, PEER),
        (1, "x" * 200, "x" * 64),
    ],
)
def test_client_address_is_set_only_by_trusted_proxies(
    serve_app: Callable[..., Flask], proxies: int, forwarded_for: str | None, address: str
) -> None:
    headers = {} if forwarded_for is None else {"X_Forwarded_For": forwarded_for}
    others = {"Forwarded": f"for={FORGED}", "X_Real_IP": FORGED, "X_Client_IP": FORGED}
    assert audited_addresses(serve_app(proxies=proxies), PEER, **headers, **others) == {address}


def test_client_address_of_unix_socket_is_empty(serve_app: Callable[..., Flask]) -> None:
    assert audited_addresses(serve_app(), "") == {""}


def test_proxy_headers_besides_the_address_are_ignored(serve_app: Callable[..., Flask]) -> None:
    app = serve_app(proxies=1)
    seen = []
    app.before_request(lambda: seen.append(request.host_url))
    forged = {"X_Forwarded_Host": "evil.example", "X_Forwarded_Proto": "https"}
    more = {"X_Forwarded_Port": "1", "X_Forwarded_Prefix": "/evil"}
    audited_addresses(app, PEER, X_Forwarded_For=CLIENT, **forged, **more)
    assert seen == ["http://localhost/"]
