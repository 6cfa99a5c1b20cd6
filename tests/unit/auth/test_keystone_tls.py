"""TLS options of the requests that validate Keystone tokens."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.certificates import create_certificate
from tests.support.loopback_server import LoopbackHandler, run_server
from vmapi.auth.authenticator import Authenticator
from vmapi.auth.factory import build_authenticator
from vmapi.errors import IssuerUnavailable, SettingsError, Unauthenticated
from vmapi.settings.settings import Settings
from vmapi.settings.tls import TLSOptions

TOKEN = "gAAAAABtoken"


class UnknownTokens(LoopbackHandler):
    """A Keystone that knows no token."""

    def handle_any(self) -> None:
        self.send_reply(404, [], b"", truncate=False)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return create_certificate(tmp_path)[0]


@pytest.fixture
def url(certificate: Path) -> Iterator[str]:
    """Serve a Keystone with a self-signed certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    with run_server(context) as server:
        server.RequestHandlerClass = UnknownTokens
        yield server.url.replace("http:", "https:")


def build(url: str, cloud_tls: TLSOptions | None = None, **settings: str) -> Authenticator:
    return build_authenticator(
        Settings(auth=("keystone",), keystone_url=url, **settings),
        lambda _: None,
        lambda *_: None,
        lambda: datetime.now(UTC),
        cloud_tls=lambda _: cloud_tls,
    )


def test_keystone_with_a_private_ca_is_verified_by_its_setting(url: str, certificate: Path) -> None:
    authenticator = build(url, keystone_cacert=str(certificate))
    with pytest.raises(Unauthenticated):
        authenticator.authenticate_with_keystone(TOKEN)
    assert authenticator.keystone_validator is not None
    authenticator.keystone_validator.ping()


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
@pytest.mark.parametrize("is_verified", [True, False])
def test_tls_options_of_the_cloud_are_used(
    url: str, certificate: Path, *, is_verified: bool
) -> None:
    authenticator = build(url, TLSOptions(str(certificate) if is_verified else False))
    with pytest.raises(Unauthenticated):
        authenticator.authenticate_with_keystone(TOKEN)


def test_unknown_ca_is_issuer_unavailable_and_sends_no_token(url: str) -> None:
    with pytest.raises(IssuerUnavailable) as caught:
        build(url).authenticate_with_keystone(TOKEN)
    assert caught.value.detail == "Keystone does not answer."
    assert "certificate verify failed" in getattr(caught.value, "reason", "")


def test_missing_ca_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.pem: cannot be read"):
        build("https://keystone.example.org", keystone_cacert=str(tmp_path / "absent.pem"))


def test_ca_file_that_disappears_is_issuer_unavailable(url: str, certificate: Path) -> None:
    authenticator = build(url, keystone_cacert=str(certificate))
    certificate.unlink()
    with pytest.raises(IssuerUnavailable) as caught:
        authenticator.authenticate_with_keystone(TOKEN)
    assert str(certificate) in getattr(caught.value, "reason", "")
