"""Responses of any size: the Python client reads as many bytes as it may."""

import asyncio
import gzip
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from tests.support.loopback_server import LoopbackHandler, LoopbackServer, run_server
from vmapi_client import AsyncClient, Client
from vmapi_client.errors import ResponseTooLarge

LIMIT_BYTES = 100_000
CHUNK = b"x" * 65_536
CHUNKS = 10_000


class EndlessHandler(LoopbackHandler):
    """Sends a body of 640 MB, without its length, or a small one that becomes as large."""

    def handle_any(self) -> None:
        """Respond to a request."""
        self.read_body()
        self.close_connection = True
        self.send_response_only(503 if "status=ERROR" in self.path else 200)
        is_stream = self.path.endswith("/events")
        self.send_header("Content-Type", "text/event-stream" if is_stream else "application/json")
        if self.path.endswith("/quota"):
            body = gzip.compress(b" " * LIMIT_BYTES * 100)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.end_headers()
        with suppress(OSError):
            for _ in range(CHUNKS):
                self.wfile.write(CHUNK)


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with run_server() as server:
        server.RequestHandlerClass = EndlessHandler
        yield server


READS: dict[str, Callable[[Client], object]] = {
    "GET /vms/v1": lambda client: client.vms.get("v1"),
    "GET /vms": lambda client: list(client.vms.list(status="ERROR")),
    "GET /quota": lambda client: client.quota(),
    "GET /vms/v1/console": lambda client: client.vms.console("v1"),
    "GET /events": lambda client: list(client.events()),
}
ADVICE = "Ask for less, such as a smaller page_size .* give the client more: max_response_bytes"


@pytest.mark.parametrize("name", list(READS))
def test_response_beyond_the_limit_ends_a_call(server: LoopbackServer, name: str) -> None:
    with Client(server.url, max_response_bytes=LIMIT_BYTES) as client:
        message = f"^{name}: .* has more than {LIMIT_BYTES} bytes. {ADVICE}"
        with pytest.raises(ResponseTooLarge, match=message):
            READS[name](client)


def test_response_beyond_the_limit_ends_a_change_and_tells_its_key(server: LoopbackServer) -> None:
    with Client(server.url, max_response_bytes=LIMIT_BYTES) as client:
        with pytest.raises(ResponseTooLarge, match="idempotency_key='key-1'") as caught:
            client.vms.start("v1", idempotency_key="key-1")
        assert caught.value.idempotency_key == "key-1"


def test_response_beyond_the_limit_ends_a_call_of_coroutines(server: LoopbackServer) -> None:
    async def run() -> None:
        async with AsyncClient(server.url, max_response_bytes=LIMIT_BYTES) as client:
            with pytest.raises(ResponseTooLarge, match=ADVICE):
                await client.vms.get("v1")
            with pytest.raises(ResponseTooLarge, match=ADVICE):
                async for _ in client.events():
                    pass

    asyncio.run(run())


def test_limit_below_one_byte_is_refused() -> None:
    for client in (Client, AsyncClient):
        with pytest.raises(ValueError, match="max_response_bytes is 0: it is at least 1"):
            client("http://127.0.0.1:9", max_response_bytes=0)
