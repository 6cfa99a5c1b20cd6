"""Rate limits over HTTP: headers, refusals and exemptions."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask

from tests.support.api_harness import BASE, CREATE_BODY, ApiHarness
from tests.support.auth_harness import AuthHarness
from vmapi.api.middleware.rate_limits import client_network
from vmapi.concurrency.nonblocking import RepeatableRequest, WouldBlock
from vmapi.domain.access.api_token import generate_token
from vmapi.domain.access.identity import Identity
from vmapi.domain.access.roles import Role
from vmapi.services.access.rate_limits import RateLimiter
from vmapi.settings.limits import parse_rate_limits
from vmapi.store.rate_counters import MemoryCounters

Limited = Callable[..., ApiHarness]


@pytest.fixture
def set_rate_limits(harness: ApiHarness) -> Limited:
    """Return a function that sets rate limits; other kinds are unlimited."""

    def limit(**texts: str) -> ApiHarness:
        limits = {
            kind: parse_rate_limits(kind, texts.get(kind, "off"))
            for kind in ("reads", "changes", "address")
        }
        rates = RateLimiter(limits, MemoryCounters(), lambda: harness.clock().timestamp())
        harness.app.extensions["vmapi"] = replace(harness.services, rate_limiter=rates)
        return harness

    return limit


def authenticate_as(harness: ApiHarness, next_user: Callable[[], str]) -> None:
    """Authenticate each request as the next user."""

    class Authenticator:
        keystone_validator = None

        def authenticate(self, _token: str | None, _address: str) -> Identity:
            return Identity(next_user(), Role.ADMIN, "default")

    services: Any = harness.app.extensions["vmapi"]
    harness.app.extensions["vmapi"] = replace(services, authenticator=Authenticator())


def test_headers_show_policy_and_remaining(set_rate_limits: Limited) -> None:
    harness = set_rate_limits(reads="3/second;100/minute", address="9/hour")
    response = harness.call("GET", "/vms")
    assert response.headers["RateLimit-Policy"] == (
        '"address-per-hour";q=9;w=3600, "reads-per-second";q=3;w=1, "reads-per-minute";q=100;w=60'
    )
    remaining = [policy.split(";")[:2] for policy in response.headers["RateLimit"].split(", ")]
    assert remaining == [
        ['"address-per-hour"', "r=8"],
        ['"reads-per-second"', "r=2"],
        ['"reads-per-minute"', "r=99"],
    ]
    assert response.headers["RateLimit"].split(", ")[1].endswith(";t=1")


def test_request_over_the_limit_is_429(set_rate_limits: Limited) -> None:
    harness = set_rate_limits(reads="2/minute")
    assert [harness.call("GET", "/vms").status_code for _ in range(2)] == [200, 200]
    response = harness.call("GET", "/vms", headers={"X-Request-ID": "r-1"})
    assert (response.status_code, response.mimetype) == (429, "application/problem+json")
    seconds = int(response.headers["Retry-After"])
    assert 1 <= seconds <= 60
    assert response.headers["RateLimit"] == f'"reads-per-minute";r=0;t={seconds}'
    assert response.json == {
        "type": "/problems/rate_limited",
        "title": "Too many requests",
        "status": 429,
        "code": "rate_limited",
        "detail": "At most 2 reads of one caller are served per minute.",
        "instance": f"{BASE}/vms",
        "request_id": "r-1",
    }
    harness.clock.sleep(seconds)
    assert harness.call("GET", "/vms").status_code == 200


def test_read_that_is_served_again_counts_once(set_rate_limits: Limited) -> None:
    harness = set_rate_limits(reads="5/hour", address="9/hour")
    request = RepeatableRequest()
    with pytest.raises(WouldBlock):
        request.serve_without_waiting(lambda: harness.call("GET", "/vms"))
    response = request.serve_again(lambda: harness.call("GET", "/vms"))
    remaining = [limit.split(";")[:2] for limit in response.headers["RateLimit"].split(", ")]
    assert remaining == [['"address-per-hour"', "r=8"], ['"reads-per-hour"', "r=4"]]


def test_reads_and_changes_have_separate_limits(set_rate_limits: Limited) -> None:
    harness = set_rate_limits(changes="2/hour", reads="3/hour")
    kwargs = {"json": CREATE_BODY, "headers": {"Idempotency-Key": "k"}}
    first, repeat, refused = (harness.call("POST", "/vms", **kwargs) for _ in range(3))
    assert (first.status_code, repeat.status_code, refused.status_code) == (201, 201, 429)
    assert refused.json["detail"] == "At most 2 changes of one caller are served per hour."
    vm = f"/vms/{first.json['id']}"
    for method, path in [("PATCH", vm), ("DELETE", vm), ("POST", f"{vm}/start"), ("PUT", vm)]:
        assert harness.call(method, path).status_code == 429
    assert [harness.call(how, vm).status_code for how in ("GET", "HEAD", "OPTIONS", "GET")] == [
        *(200, 200, 200, 429),
    ]


def test_refused_change_has_no_effect(set_rate_limits: Limited) -> None:
    harness = set_rate_limits(changes="1/hour")
    assert [harness.post("/vms", CREATE_BODY).status_code for _ in range(2)] == [201, 429]
    assert harness.get_json("/operations")["total"] == 1


@pytest.mark.parametrize("path", ["/livez", "/readyz", f"{BASE}/health"])
def test_probes_have_no_limit(set_rate_limits: Limited, path: str) -> None:
    harness = set_rate_limits(reads="1/hour", address="1/hour")
    for _ in range(3):
        response = harness.client.get(path)
        assert response.status_code == 200
        assert "RateLimit" not in response.headers


def test_every_other_url_is_limited(set_rate_limits: Limited) -> None:
    paths = ["/nowhere", "/docs", "/openapi.json", "/problems/forbidden", f"{BASE}/vms?a=1"]
    harness = set_rate_limits(address=f"{len(paths)}/hour")
    assert [harness.client.get(path, buffered=True).status_code for path in paths] == [
        404,
        200,
        200,
        200,
        422,
    ]
    assert [harness.client.get(path, buffered=True).status_code for path in paths] == [429] * len(
        paths
    )


def test_each_caller_has_its_own_limit(set_rate_limits: Limited) -> None:
    harness = set_rate_limits(reads="1/hour")

    def status(user: str, address: str) -> int:
        authenticate_as(harness, lambda: user)
        statuses: dict[str, Any] = {"REMOTE_ADDR": address}
        return harness.call("GET", "/vms", environ_overrides=statuses).status_code

    assert [status("ci", "127.0.0.1"), status("ci", "127.0.0.2")] == [200, 429]
    assert [status("web", "127.0.0.1"), status("127.0.0.1", "127.0.0.1")] == [200, 200]
    assert [status("anonymous", "127.0.0.1"), status("anonymous", "127.0.0.2")] == [200, 200]
    assert status("anonymous", "127.0.0.1") == 429


def test_address_limit_applies_to_all_users(set_rate_limits: Limited) -> None:
    harness = set_rate_limits(address="2/hour", reads="1000/second")
    users = iter(["a", "b", "c"])
    authenticate_as(harness, lambda: next(users))
    responses = [harness.call("GET", "/vms") for _ in range(3)]
    assert [response.status_code for response in responses] == [200, 200, 429]
    assert (
        responses[-1].json["detail"] == "At most 2 requests from one address are served per hour."
    )
    # the third request was refused before authentication
    assert next(users) == "c"


def test_guessing_tokens_is_limited_by_address(set_rate_limits: Limited) -> None:
    auth_harness = AuthHarness(set_rate_limits(address="2/hour"))
    assert [auth_harness.call("GET", "/vms", generate_token()).status_code for _ in range(3)] == [
        401,
        401,
        429,
    ]


def test_forbidden_requests_count_for_the_caller(set_rate_limits: Limited) -> None:
    auth_harness = AuthHarness(set_rate_limits(changes="2/hour"))
    token = auth_harness.create_token("viewer")
    statuses = [
        auth_harness.call("POST", "/vms", token, json=CREATE_BODY).status_code for _ in range(3)
    ]
    assert statuses == [403, 403, 429]


def test_refused_cross_site_request_does_not_count(set_rate_limits: Limited) -> None:
    harness = set_rate_limits(changes="1/hour")
    theirs = {"Sec-Fetch-Site": "cross-site"}
    statuses = [
        harness.call("POST", "/vms", json=CREATE_BODY, headers=theirs).status_code for _ in range(3)
    ]
    assert statuses == [403, 403, 403]
    assert harness.post("/vms", CREATE_BODY).status_code == 201


@pytest.mark.parametrize(
    ("address", "network"),
    [
        *[("192.0.2.1", "192.0.2.1"), ("", ""), ("::ffff:192.0.2.1", "192.0.2.1")],
        *[("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"), ("2001:DB8:1:2::9", "2001:db8:1:2::/64")],
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_client_network_of_ipv6_is_64_bits(address: str, network: str) -> None:
    assert client_network(address) == network


def test_preflight_is_not_counted(serve_app: Callable[..., Flask]) -> None:
    client = serve_app(
        cors_origins=("https://a.example",), rate_address=parse_rate_limits("address", "1/hour")
    ).test_client()
    asks = {"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
    for _ in range(3):
        assert client.options(f"{BASE}/vms", headers=asks).status_code == 204
    statuses = {"Origin": "https://a.example"}
    assert [client.get(f"{BASE}/vms", headers=statuses).status_code for _ in range(2)] == [200, 429]
    refused = client.get(f"{BASE}/vms", headers=statuses)
    assert refused.headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert "RateLimit" in refused.headers["Access-Control-Expose-Headers"]


def test_headers_are_absent_without_limits(set_rate_limits: Limited) -> None:
    response = set_rate_limits().call("GET", "/vms")
    assert {"RateLimit", "RateLimit-Policy"} & set(response.headers.keys()) == set()
