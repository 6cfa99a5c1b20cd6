"""`vmctl doctor` in front of servers without a usable TLS connection."""

import socket
import ssl
from collections.abc import Iterator

import pytest

from tests.support.loopback_server import run_server
from tests.support.vmctl import Vmctl
from vmapi_client.cli.connection_checks import describe_distrust


@pytest.fixture
def stalled_port() -> Iterator[int]:
    """The port of a server that accepts connections and sends nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_server_that_stalls_before_tls_is_exit_code_7(
    offline_vmctl: Vmctl, stalled_port: int
) -> None:
    url = f"https://127.0.0.1:{stalled_port}"
    result = offline_vmctl("doctor", "--url", url, "--timeout", "1s")
    assert (result.exit_code, result.lines) == (
        7,
        [
            f"ok      url          {url} from --url",
            f"FAILED  connection   127.0.0.1 port {stalled_port}: no TLS connection in time",
        ],
    )


def test_server_without_tls_is_diagnosed(offline_vmctl: Vmctl) -> None:
    with run_server() as server:
        url = server.url.replace("http:", "https:")
        result = offline_vmctl("doctor", "--url", url)
    assert result.exit_code == 6
    advice = "the server does not use TLS; check the scheme and the port of the URL"
    assert result.lines[-1].endswith(f": {advice}")


@pytest.mark.parametrize(
    ("code", "message", "text"),
    [
        (10, "certificate has expired", "certificate has expired; renew it on the server"),
        (18, "self-signed certificate", "self-signed certificate; use --ca-file FILE"),
        (62, "Hostname mismatch.", "Hostname mismatch; use a host name of the certificate in the "),
    ],
)
def test_advice_fits_the_reason_of_the_distrust(code: int, message: str, text: str) -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_code, error.verify_message = code, message
    assert describe_distrust(error).startswith(text)
