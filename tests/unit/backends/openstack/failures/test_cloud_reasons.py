"""The reason of an unreachable cloud: for operators, and in no response to a client."""

import ssl
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support.certificates import create_certificate
from tests.support.driver_calls import Call, connect, get, stop
from tests.support.fake_openstack import openstack_settings, serve_openstack
from tests.support.loopback_server import LoopbackHandler, run_server
from vmapi.app import create_app
from vmapi.backends.breaker_backend import CircuitBreakerBackend
from vmapi.backends.circuit_breaker import FAILURE_THRESHOLD
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.errors import BackendUnavailable
from vmapi.settings.settings import Settings

REFUSED = "Connection refused"


@pytest.fixture
def closed_url() -> str:
    with serve_openstack() as stopped:
        return stopped.url


@pytest.mark.parametrize("call", [get, stop])
def test_refused_connection_is_the_reason(
    call: Call, closed_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BackendUnavailable) as failure:
        call(connect(closed_url, monkeypatch))
    assert failure.value.reason.endswith(REFUSED)
    assert REFUSED not in failure.value.detail


def test_expired_certificate_is_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = create_certificate(tmp_path, is_expired=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with run_server(context) as server:
        server.RequestHandlerClass = LoopbackHandler
        settings = openstack_settings(server.url.replace("http:", "https:"), monkeypatch)
        monkeypatch.setenv("OS_CACERT", str(certificate))
        with pytest.raises(BackendUnavailable) as failure:
            OpenStackBackend.from_settings(settings).ping()
    assert failure.value.reason.endswith("certificate verify failed: certificate has expired")


def test_log_of_the_circuit_breaker_has_the_reason(
    closed_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = CircuitBreakerBackend(connect(closed_url, monkeypatch))
    with capture_logs() as logs:
        for _ in range(FAILURE_THRESHOLD):
            with pytest.raises(BackendUnavailable):
                backend.ping()
    backend.close()
    (reason,) = (line["reason"] for line in logs if line["event"] == "circuit breaker opened")
    assert REFUSED in reason


def test_check_prints_the_reason(closed_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(Settings(log_level="CRITICAL"), connect(closed_url, monkeypatch))
    with app.app_context():
        result = app.test_cli_runner().invoke(args=["check"])
    assert result.exit_code == 1
    assert REFUSED in result.output.splitlines()[-1]
