"""TLS at nginx and HAProxy: versions, ciphers, HTTP/2, plain HTTP."""

import socket
import ssl
import subprocess
from collections.abc import Iterator
from http.client import HTTPSConnection

import pytest

from tests.support.http_client import WAIT_SECONDS, HttpClient, HttpResponse, send_request
from tests.support.processes import Gunicorn, require_program
from tests.support.tls_gateways import TlsHaproxy, TlsNginx

VMS = "/api/v1/vms"
HSTS = "Strict-Transport-Security"


TlsGateway = TlsNginx | TlsHaproxy


@pytest.fixture(scope="module", params=[TlsNginx, TlsHaproxy])
def secure(
    cloud: Gunicorn, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[TlsGateway]:
    server = request.param(tmp_path_factory.mktemp("secure"), cloud.port)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def secure_nginx(cloud: Gunicorn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsNginx]:
    server = TlsNginx(tmp_path_factory.mktemp("nginx"), cloud.port)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def get(server: TlsGateway, path: str, context: ssl.SSLContext) -> HttpResponse:
    connection = HTTPSConnection("127.0.0.1", server.port, timeout=WAIT_SECONDS, context=context)
    try:
        return send_request(connection, "GET", path)
    finally:
        connection.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_current_tls_versions_are_accepted(secure: TlsGateway, version: ssl.TLSVersion) -> None:
    answer = get(secure, VMS, secure.ssl_context(version))
    assert answer.status == 200
    assert answer.headers[HSTS] == "max-age=31536000"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_versions_are_refused_by_the_server(
    secure: TlsGateway, version: ssl.TLSVersion
) -> None:
    with pytest.raises(ssl.SSLError) as caught:
        get(secure, VMS, secure.ssl_context(version))
    assert caught.value.reason == "TLSV1_ALERT_PROTOCOL_VERSION"


@pytest.mark.parametrize(
    "cipher", ["ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA256", "AES128-GCM-SHA256"]
)
def test_weak_ciphers_are_refused(secure: TlsGateway, cipher: str) -> None:
    context = secure.ssl_context(ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(f"{cipher}:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError) as caught:
        get(secure, VMS, context)
    assert caught.value.reason == "SSLV3_ALERT_HANDSHAKE_FAILURE"


def test_http2_is_negotiated(secure: TlsGateway) -> None:
    context = secure.ssl_context()
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", secure.port), WAIT_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
    ):
        assert connection.selected_alpn_protocol() == "h2"


def test_requests_over_http2(secure: TlsGateway) -> None:
    url = f"https://127.0.0.1:{secure.port}{VMS}"
    options = ("--http2", "--cacert", str(secure.certificate), "-sS", "-o", "/dev/null")
    shown = ("-w", "%{http_version} %{response_code} %{num_connects}\n")
    command = (require_program("curl", "curl"), *options, url, "-o", "/dev/null", url, *shown)
    printed = subprocess.check_output(command, text=True, timeout=WAIT_SECONDS)
    assert printed == "2 200 1\n2 200 0\n"


@pytest.mark.parametrize("path", [VMS, "/", "/docs/", f"{VMS}?token=hunter2"])
def test_plain_http_is_rejected(secure: TlsGateway, path: str) -> None:
    answer = HttpClient(secure.http_port)("GET", path, headers={"Authorization": "Bearer hunter2"})
    problem = answer.check_problem(400, "malformed_request")
    assert problem["detail"].startswith("Only HTTPS is served.")
    assert "hunter2" not in str(problem) + str(answer.headers)


def test_docs_page_redirects_to_https(secure: TlsGateway) -> None:
    answer = HttpClient(secure.http_port)("GET", "/docs")
    assert (answer.status, answer.headers["Location"]) == (308, "https://127.0.0.1/docs")


def test_plain_http_on_the_tls_port_is_a_problem(secure_nginx: TlsNginx) -> None:
    answer = secure_nginx.call("GET", VMS)
    assert "only HTTPS is served" in answer.check_problem(400, "malformed_request")["detail"]


def test_problems_of_nginx_have_the_hsts_header(secure_nginx: TlsNginx) -> None:
    context = secure_nginx.ssl_context()
    answer = get(secure_nginx, "/_problem/not_found", context)
    nginx_answer = get(secure_nginx, f"/{'x' * 9000}", context)
    answer.check_problem(404, "not_found")
    nginx_answer.check_problem(400, "malformed_request")
    assert answer.headers[HSTS] == nginx_answer.headers[HSTS] == "max-age=31536000"


def test_problems_of_a_closed_gateway_have_the_hsts_header(secure: TlsGateway) -> None:
    secure.begin_maintenance()
    answer = get(secure, VMS, secure.ssl_context())
    secure.end_maintenance()
    answer.check_problem(503, "under_maintenance")
    assert answer.headers[HSTS] == "max-age=31536000"
