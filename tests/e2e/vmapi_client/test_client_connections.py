"""Servers that the Python client cannot use: each ends at once with advice."""

import asyncio
import time
from pathlib import Path

import pytest

from tests.support.processes import Gunicorn, ServerProcess
from tests.support.tls_gateways import TlsNginx
from tests.support.vmctl import Vmctl
from vmapi_client import AsyncClient, Client
from vmapi_client.errors import (
    CertificateRejected,
    ConfigurationError,
    HostNotFound,
    NotReachable,
    NotVmapi,
    UrlNotFound,
    VmapiError,
)

IMAGE = {"flavor": "m1.tiny", "image": "cirros"}
LONG_SECONDS = 300
AT_ONCE_SECONDS = 30
"""Far less than the deadline, and far more than a refusal takes."""


@pytest.mark.parametrize(
    ("url", "error", "advice"),
    [
        ("http://no-such-host.invalid", HostNotFound, "Check the URL http://no-such-host"),
        ("https://127.0.0.1:{secure}", CertificateRejected, "name the file of a private authority"),
        ("https://127.0.0.1:{port}", CertificateRejected, "Check the scheme and the port of"),
        ("http://127.0.0.1:{other}", NotVmapi, "which is not a response of vmapi"),
        ("http://127.0.0.1:{port}/prefix", UrlNotFound, "came from the argument url"),
    ],
)
def test_server_that_repeats_cannot_heal_ends_a_change_at_once(
    ports: dict[str, int], url: str, error: type[VmapiError], advice: str
) -> None:
    begin = time.monotonic()
    with Client(url.format(**ports), "token", timeout=LONG_SECONDS) as client:
        with pytest.raises(error, match=advice) as caught:
            client.vms.create("web-1", **IMAGE)
        assert caught.value.idempotency_key

    async def create() -> None:
        async with AsyncClient(url.format(**ports), "token", timeout=LONG_SECONDS) as client:
            await client.vms.create("web-1", **IMAGE)

    with pytest.raises(error, match=advice):
        asyncio.run(create())
    assert time.monotonic() - begin < AT_ONCE_SECONDS


def test_server_that_is_down_is_tried_until_the_deadline() -> None:
    with Client("http://127.0.0.1:9", timeout=1) as client:
        with pytest.raises(NotReachable, match="no response of vmapi within 1 s") as caught:
            client.vms.create("web-1", **IMAGE)
        assert f"idempotency_key={caught.value.idempotency_key!r}" in str(caught.value)


def test_certificates_of_a_file_are_trusted(
    cloud: Gunicorn, servers: list[ServerProcess], tmp_path: Path, vmctl: Vmctl
) -> None:
    server = TlsNginx(tmp_path, cloud.port)
    servers.append(server)
    server.start()
    url = f"https://127.0.0.1:{server.port}"
    with Client(url, ca_file=server.certificate, timeout=LONG_SECONDS) as client:
        assert client.flavors()[0].name == "m1.tiny"
    vmctl.url = url
    doubtful = vmctl("doctor", "--ca-file", str(server.certificate))
    assert "TLSv1.3, the certificate is valid for 0 days" in doubtful.lines[1]
    assert doubtful.exit_code == 1
    refused = vmctl("doctor")
    assert refused.exit_code == 6
    assert "certificate: self-signed certificate; use --ca-file FILE" in refused.lines[1]


def test_unreadable_file_of_certificates_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="ca_file"):
        Client("https://127.0.0.1", ca_file=tmp_path / "none.pem")
