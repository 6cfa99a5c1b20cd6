"""Deadlines of the Python client in front of servers that answer slowly or never."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event

import pytest

from tests.support.loopback_server import LoopbackHandler, run_server
from vmapi_client import AsyncClient, Client
from vmapi_client.errors import ResponseTimeout

IMAGE = {"flavor": "m1.tiny", "image": "cirros"}
DEADLINE_SECONDS = 1.0
STREAM_SECONDS = 3.0
"""Seconds of a stream; more than its beginning takes on a busy machine."""

LATE_SECONDS = 60.0
"""Far more than the deadline, and far less than a server below sends for."""

DRIP_SECONDS = 0.05
DRIPS = 4_000

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SLOW_RESPONSES = {
    "nothing": (b"", b""),
    "head": (HEAD + b"X-Slow: ", b"a"),
    "body": (HEAD + b"Content-Length: 9999\r\n\r\n", b" "),
    "length of a chunk": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "stalled body": (HEAD + b"Content-Length: 9999\r\n\r\n{", b""),
}


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
HEARTBEAT = b"d\r\n: heartbeat\n\n\r\n"
SLOW_STREAMS = {
    "nothing": (b"", b""),
    "head": (STREAM_HEAD + b"X-Slow: ", b"a"),
    "no event": (STREAM_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b""),
    "heartbeats": (STREAM_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", HEARTBEAT),
}


@contextmanager
def run_slow_server(beginning: bytes, drip: bytes) -> Iterator[str]:
    """Start a server that sends the same bytes again and again."""
    is_over = Event()

    class SlowHandler(LoopbackHandler):
        def handle_any(self) -> None:
            self.read_body()
            self.close_connection = True
            with suppress(OSError):
                self.wfile.write(beginning)
                for _ in range(DRIPS):
                    if is_over.wait(DRIP_SECONDS):
                        return
                    self.wfile.write(drip)

    with run_server() as server:
        server.RequestHandlerClass = SlowHandler
        yield server.url
        is_over.set()


@pytest.fixture(params=list(SLOW_RESPONSES))
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a server that sends a part of its response byte by byte."""
    with run_slow_server(*SLOW_RESPONSES[request.param]) as url:
        yield url


def follow(url: str) -> None:
    """Follow events with threads."""
    with Client(url) as client:
        assert list(client.events(seconds=STREAM_SECONDS)) == []


def follow_in_coroutine(url: str) -> None:
    """Follow events with coroutines."""

    async def run() -> None:
        async with AsyncClient(url) as client:
            assert [event async for event in client.events(seconds=STREAM_SECONDS)] == []

    asyncio.run(run())


def create(url: str) -> None:
    """Create a VM with threads."""
    with Client(url, timeout=DEADLINE_SECONDS) as client:
        client.vms.create("web-1", **IMAGE)


def create_in_coroutine(url: str) -> None:
    """Create a VM with coroutines."""

    async def run() -> None:
        async with AsyncClient(url, timeout=DEADLINE_SECONDS) as client:
            await client.vms.create("web-1", **IMAGE)

    asyncio.run(run())


@pytest.mark.parametrize("call", [create, create_in_coroutine])
def test_slow_response_ends_at_the_deadline(url: str, call: Callable[[str], None]) -> None:
    begin = time.monotonic()
    with pytest.raises(ResponseTimeout, match="no response of vmapi within 1 s") as caught:
        call(url)
    assert time.monotonic() - begin < LATE_SECONDS
    assert f"idempotency_key={caught.value.idempotency_key!r}" in str(caught.value)


@pytest.mark.parametrize("call", [follow, follow_in_coroutine])
@pytest.mark.parametrize("slow", list(SLOW_STREAMS))
def test_stream_ends_after_its_seconds_whatever_the_server_sends(
    slow: str, call: Callable[[str], None]
) -> None:
    begin = time.monotonic()
    with run_slow_server(*SLOW_STREAMS[slow]) as url:
        if slow in ("nothing", "head"):
            with pytest.raises(ResponseTimeout, match="no stream within 3 s"):
                call(url)
        else:
            call(url)
    assert time.monotonic() - begin < LATE_SECONDS


def find_newest_event(url: str) -> None:
    """Search for the newest event with threads."""
    with Client(url) as client:
        client.newest_event_id(timeout=DEADLINE_SECONDS)


def find_newest_event_in_coroutine(url: str) -> None:
    """Search for the newest event with coroutines."""

    async def run() -> None:
        async with AsyncClient(url) as client:
            await client.newest_event_id(timeout=DEADLINE_SECONDS)

    asyncio.run(run())


@pytest.mark.parametrize("call", [find_newest_event, find_newest_event_in_coroutine])
@pytest.mark.parametrize("slow", list(SLOW_STREAMS))
def test_search_for_the_newest_event_ends_at_the_deadline(
    slow: str, call: Callable[[str], None]
) -> None:
    begin = time.monotonic()
    with (
        run_slow_server(*SLOW_STREAMS[slow]) as url,
        pytest.raises(ResponseTimeout, match="no stream within 1 s"),
    ):
        call(url)
    assert time.monotonic() - begin < LATE_SECONDS


def test_server_that_never_begins_tls_is_a_response_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with (
            Client(url, timeout=DEADLINE_SECONDS) as client,
            pytest.raises(ResponseTimeout, match="no response of vmapi within 1 s"),
        ):
            client.health()
