"""Fixtures of the end-to-end tests: gunicorn with vmapi, nginx, a browser."""

import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.doc_scripts import http_server
from tests.support.gateways import Nginx
from tests.support.http_client import WAIT_SECONDS, HttpClient
from tests.support.installed import (
    InstalledServer,
    build_wheel,
    create_environment,
    run_quietly,
)
from tests.support.processes import Gunicorn, ServerProcess, require_program

if TYPE_CHECKING:
    from playwright.sync_api import Browser

OFFLINE = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


@pytest.fixture
def servers() -> Iterator[list[ServerProcess]]:
    """Servers that are stopped after the test, the last one first."""
    started: list[ServerProcess] = []
    yield started
    for server in reversed(started):
        server.stop()


@pytest.fixture
def new_interpreters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start Python for each server, as the subject of a test."""
    monkeypatch.setattr(ServerProcess, "is_forked", False)


@pytest.fixture
def gunicorn(tmp_path: Path, servers: list[ServerProcess]) -> Callable[..., Gunicorn]:
    """Build a gunicorn: `gunicorn(VMAPI_…=…)` does not start it."""

    def make(**settings: str) -> Gunicorn:
        server = Gunicorn(tmp_path, **settings)
        servers.append(server)
        return server

    return make


@pytest.fixture
def nginx(tmp_path: Path, servers: list[ServerProcess]) -> Callable[[int], Nginx]:
    """Start an nginx in front of a port."""

    def start(upstream: int) -> Nginx:
        server = Nginx(tmp_path, upstream)
        servers.append(server)
        return server.start()

    return start


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel of vmapi."""
    return build_wheel(tmp_path_factory.mktemp("wheel"), "--no-build-isolation")


@pytest.fixture(scope="session")
def installed_program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel, and return the path of `vmapi`."""
    programs = create_environment(tmp_path_factory.mktemp("venv"))
    pip = (str(programs / "python"), "-m", "pip", "install", "--quiet", "--no-deps")
    run_quietly(*pip, str(wheel))
    return programs / "vmapi"


@pytest.fixture
def installed_server(
    tmp_path: Path, installed_program: Path, servers: list[ServerProcess]
) -> InstalledServer:
    """Return the server of the wheel, not started, in an empty folder."""
    (tmp_path / "empty").mkdir()
    server = InstalledServer(tmp_path / "empty", installed_program)
    servers.append(server)
    return server


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    """A gunicorn that all tests share, on a cloud with a latency."""
    server = Gunicorn(tmp_path_factory.mktemp("gunicorn"), VMAPI_MEMORY_LATENCY="0.15")
    server.start()
    try:
        server.wait_for("/readyz")
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def front(cloud: Gunicorn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """An nginx that all tests share, in front of `cloud`."""
    server = Nginx(tmp_path_factory.mktemp("nginx"), cloud.port)
    try:
        server.start().wait_for("/readyz")
        yield server
    finally:
        server.stop()


@pytest.fixture
def call(front: Nginx) -> HttpClient:
    """Return a client of vmapi behind nginx."""
    return front.call


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """Start a Chromium that resolves no name but loopback."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=WAIT_SECONDS * 1000)
    program = require_program("chromium", "chromium")
    options = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
    offline = ["--disable-background-networking", f"--host-resolver-rules={OFFLINE}"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=options + offline)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def ports(cloud: Gunicorn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The ports of a vmapi, of another web server, and of one with a self-signed certificate."""
    key = tmp_path_factory.mktemp("tls") / "key.pem"
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key)
    name = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    command = [
        require_program("openssl", "openssl"),
        "req",
        "-x509",
        *curve,
        *name,
        "-out",
        f"{key}.crt",
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=WAIT_SECONDS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{key}.crt", key)
    with http_server() as other, http_server(context) as secure:
        yield {"port": cloud.port, "other": other, "secure": secure}
