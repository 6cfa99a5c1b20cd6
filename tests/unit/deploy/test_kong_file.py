"""The file for Kong has the documented format, and the rules of the HAProxy gateway.

The members are those of decK's format 3.0 (developer.konghq.com/deck, declarative configuration).
Kong itself is not installed here.
"""

import re
from typing import Any

import pytest
import yaml

from tests.support.processes import ROOT

FORMAT: dict[str, dict[str, Any]] = {
    "services": {
        **dict.fromkeys(("name", "host", "protocol", "url"), str),
        **dict.fromkeys(("port", "retries", "connect_timeout", "read_timeout"), int),
        "routes": list,
    },
    "routes": {
        "name": str,
        "paths": list,
        **dict.fromkeys(("strip_path", "preserve_host", "response_buffering"), bool),
    },
    "upstreams": {"name": str, "algorithm": str, "healthchecks": dict, "targets": list},
    "plugins": {"name": str, "service": str, "config": dict},
    "consumers": {"username": str, "keyauth_credentials": list},
}
PLUGIN_MEMBERS = {
    "key-auth": {"key_names", "key_in_query", "key_in_body", "hide_credentials"},
    "rate-limiting": {"second", "limit_by", "policy"},
    "request-size-limiting": {"allowed_payload_size", "size_unit", "require_content_length"},
    "correlation-id": {"header_name", "generator", "echo_downstream"},
}
HAPROXY = (ROOT / "deploy/haproxy/gateway.cfg").read_text()
PUBLIC_SERVICE = "vmapi-docs"


@pytest.fixture
def kong() -> Any:
    """Return the file."""
    return yaml.safe_load((ROOT / "deploy/kong/kong.yaml").read_text())


def test_members_are_those_of_the_format(kong: Any) -> None:
    assert kong.pop("_format_version") == "3.0"
    kong["routes"] = [route for service in kong["services"] for route in service["routes"]]
    assert set(kong) == set(FORMAT)
    for kind, members in FORMAT.items():
        for item in kong[kind]:
            assert set(item) <= set(members), (kind, item)
            assert all(isinstance(value, members[name]) for name, value in item.items()), item
    for plugin in kong["plugins"]:
        assert set(plugin["config"]) <= PLUGIN_MEMBERS[plugin["name"]]


def test_names_are_unique_and_exist(kong: Any) -> None:
    services = [service["name"] for service in kong["services"]]
    routes = [route["name"] for service in kong["services"] for route in service["routes"]]
    assert len(set(services)) == len(services)
    assert len(set(routes)) == len(routes)
    for service in kong["services"]:
        assert "url" in service or service["host"] in {item["name"] for item in kong["upstreams"]}
    keyed = {item["service"] for item in kong["plugins"] if item["name"] == "key-auth"}
    assert keyed == {*services} - {PUBLIC_SERVICE}


def test_keys_come_from_the_environment(kong: Any) -> None:
    keys = [item["key"] for user in kong["consumers"] for item in user["keyauth_credentials"]]
    assert keys
    assert all(re.fullmatch(r'\$\{\{ env "DECK_[A-Z]+_KEY" \}\}', key) for key in keys)


def test_rules_are_those_of_haproxy(kong: Any) -> None:
    plugins = {plugin["name"]: plugin["config"] for plugin in kong["plugins"]}
    assert f"sc_http_req_rate(0) gt {plugins['rate-limiting']['second']} " in HAPROXY
    assert "http_req_rate(1s)" in HAPROXY
    mebibytes = plugins["request-size-limiting"]["allowed_payload_size"]
    assert f"req.hdr_val(Content-Length) gt {mebibytes * 1024 * 1024} " in HAPROXY
    assert "req.hdr(X-API-Key)," in HAPROXY
    assert plugins["key-auth"]["key_names"] == ["X-API-Key"]
    for service in kong["services"]:
        backend = "vmapi" if service["name"] == PUBLIC_SERVICE else service["name"]
        assert re.search(rf"^    use_backend {backend} if ", HAPROXY, re.MULTILINE)
        for path in (path for route in service["routes"] for path in route["paths"]):
            assert path.strip("~$") in HAPROXY or path == "/api/v1/events"
        if "url" in service:
            assert f"{service['url'].removeprefix('http://')}" in HAPROXY
