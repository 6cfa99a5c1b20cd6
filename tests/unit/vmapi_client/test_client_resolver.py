"""The Python client and vmctl in front of a resolver that does not answer."""

import socket
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest

from tests.support.http_client import WAIT_SECONDS
from tests.support.loopback_server import LoopbackHandler, run_server
from tests.support.vmctl import Vmctl
from vmapi_client import Client
from vmapi_client.errors import NotReachable, NotVmapi

URL = "http://cloud.example.org"


@pytest.fixture
def silent_resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the resolver of the system answer only after the test."""
    is_over = Event()

    def resolve(*_: Any, **__: Any) -> list[Any]:
        is_over.wait(WAIT_SECONDS)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    yield
    is_over.set()


@pytest.mark.usefixtures("silent_resolver")
def test_call_ends_at_the_deadline() -> None:
    with (
        Client(URL, timeout=0.2) as client,
        pytest.raises(NotReachable, match=r"the name cloud\.example\.org is not resolved in time"),
    ):
        client.health()


@pytest.mark.usefixtures("silent_resolver")
def test_stream_ends_after_its_seconds() -> None:
    with Client(URL) as client, pytest.raises(NotReachable, match=r"is not resolved in time"):
        list(client.events(seconds=1))


@pytest.mark.usefixtures("silent_resolver")
def test_doctor_names_the_resolver(offline_vmctl: Vmctl) -> None:
    result = offline_vmctl("doctor", "--url", URL, "--timeout", "2s")
    assert result.exit_code == 6
    assert result.lines[-1] == (
        "FAILED  connection   cloud.example.org port 80: "
        "the name cloud.example.org is not resolved in time"
    )


class ForeignHandler(LoopbackHandler):
    """Answers as another program than vmapi."""

    def handle_any(self) -> None:
        self.send_reply(200, [("Content-Type", "text/html")], b"", truncate=False)


def test_next_address_is_tried_where_one_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with run_server() as server:
        server.RequestHandlerClass = ForeignHandler
        port = int(server.url.rpartition(":")[2])
        resolved = [(None, None, 0, "", (host, port)) for host in ("127.0.0.2", "127.0.0.1")]
        system_resolver = socket.getaddrinfo

        def resolve(host: str, *arguments: Any, **options: Any) -> list[Any]:
            if host == "cloud.example.org":
                return resolved
            return system_resolver(host, *arguments, **options)

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        with Client(f"{URL}:{port}", timeout=5) as client, pytest.raises(NotVmapi):
            client.health()
