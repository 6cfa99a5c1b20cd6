"""The environment of requests to the cloud: proxies and CA certificates count, netrc does not."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.fake_openstack import (
    DETAIL_PATH,
    FakeOpenStack,
    Reply,
    openstack_settings,
    serve_openstack,
)
from tests.support.loopback_server import LoopbackHandler, run_server
from vmapi.auth.keystone_tokens import KeystoneValidator
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.cloud_http import CloudHttpSession
from vmapi.errors import Unauthenticated

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
CLOUD_URL = "http://nova.example.org:8774"


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def proxied_urls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The URLs that an HTTP proxy of the environment receives."""
    received: list[str] = []

    class RecordingProxy(LoopbackHandler):
        def handle_any(self) -> None:
            received.append(self.path)
            self.send_reply(200, [], b"", truncate=False)

    with run_server() as server:
        server.RequestHandlerClass = RecordingProxy
        monkeypatch.setenv("HTTP_PROXY", server.url)
        yield received


@pytest.fixture
def cloud() -> Iterator[FakeOpenStack]:
    with serve_openstack() as cloud:
        yield cloud


def test_no_call_to_the_cloud_has_credentials_of_netrc(
    cloud: FakeOpenStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    cloud.reply_to("GET", DETAIL_PATH, Reply(200, {"servers": []}))
    backend = OpenStackBackend.from_settings(openstack_settings(cloud.url, monkeypatch))
    assert backend.list_vms() == []
    backend.close()
    validator = KeystoneValidator(f"{cloud.url}/identity/v3", {})
    cloud.reply_to("GET", "/identity/v3/auth/tokens", Reply(404))
    with suppress(Unauthenticated):
        validator.authenticate("a-token")
    paths = {request.path.partition("?")[0] for request in cloud.requests}
    assert paths >= {"/identity/v3/auth/tokens", DETAIL_PATH}
    assert [
        name for call in cloud.requests for name in call.headers if name == "Authorization"
    ] == []


def test_proxy_of_the_environment_is_used_and_read_once(
    proxied_urls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = CloudHttpSession()
    session.get(f"{CLOUD_URL}/servers")
    monkeypatch.delenv("HTTP_PROXY")
    session.get(f"{CLOUD_URL}/flavors")
    assert proxied_urls == [f"{CLOUD_URL}/servers", f"{CLOUD_URL}/flavors"]


def test_host_of_no_proxy_is_reached_directly(
    proxied_urls: list[str], cloud: FakeOpenStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    session = CloudHttpSession()
    assert session.get(f"{cloud.url}/identity/v3").status_code == 200
    session.get(f"{CLOUD_URL}/servers")
    assert proxied_urls == [f"{CLOUD_URL}/servers"]


def test_ca_certificates_of_the_environment_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/ca.pem")
    session = CloudHttpSession()
    options = [
        session.merge_environment_settings(f"{CLOUD_URL}/", {}, None, verify, None)["verify"]
        for verify in (True, None, False, "/own.pem")
    ]
    assert options == ["/ca.pem", "/ca.pem", False, "/own.pem"]
