"""Client addresses in the audit trail: set by trusted proxies only."""

from collections.abc import Callable

import pytest
from flask import Flask, request

from tests.support.api_harness import BASE, CREATE_BODY
from tests.support.audit_rows import audit_rows
from vmapi.settings.limits import parse_rate_limits

PEER = "192.0.2.1"
CLIENT = "198.51.100.7"
FORGED = "203.0.113.66"
NO_ADDRESSES = (
    *("x" * 200, "unknown", "_hidden", "-", "", " ", '""', "198.51.100", "198.51.100.256"),
    *("198.51.100.7:port", "198.51.100.7:999999", "[2001:db8::7", "[]", "[]:1", "[198.51.100.7]x"),
    *("client.example.org", f"for={CLIENT}", "198.51.100.7/24", "é", "0x7f000001"),
)


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
        (1, f"{CLIENT}:4711", CLIENT),
        (1, f"{FORGED}:1, {CLIENT}:4711", CLIENT),
        (2, f"{CLIENT}:4711, 192.0.2.9:80", CLIENT),
        (1, "[2001:db8::7]:4711", "2001:db8::7"),
        (1, "[2001:DB8:0:0::7]", "2001:db8::7"),
        (1, '"[2001:db8::7]:4711"', "2001:db8::7"),
        (1, f'"{CLIENT}:_obfuscated"', CLIENT),
        (1, "fe80::7%eth0", "fe80::7"),
        (1, "[fe80::7%25eth0]:4711", "fe80::7"),
        *((1, text, PEER) for text in NO_ADDRESSES),
    ],
)
def test_client_address_is_set_only_by_trusted_proxies(
    serve_app: Callable[..., Flask], proxies: int, forwarded_for: str | None, address: str
) -> None:
    headers = {} if forwarded_for is None else {"X_Forwarded_For": forwarded_for}
    others = {"Forwarded": f"for={FORGED}", "X_Real_IP": FORGED, "X_Client_IP": FORGED}
    assert audited_addresses(serve_app(proxies=proxies), PEER, **headers, **others) == {address}


def test_rate_of_an_address_does_not_depend_on_its_port(serve_app: Callable[..., Flask]) -> None:
    client = serve_app(proxies=1, rate_address=parse_rate_limits("address", "2/hour")).test_client()
    nodes = (f"{CLIENT}:1", f"{CLIENT}:2", CLIENT, f"{FORGED}:1")
    statuses = [
        client.get(f"{BASE}/vms", headers={"X-Forwarded-For": node}).status_code for node in nodes
    ]
    assert statuses == [200, 200, 429, 200]


def test_unknown_client_behind_a_unix_socket_has_no_address(
    serve_app: Callable[..., Flask],
) -> None:
    assert audited_addresses(serve_app(proxies=1), "", X_Forwarded_For="unknown") == {""}


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
