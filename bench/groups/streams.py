"""Aim 8: many idle event streams do not slow down the reads of other clients."""

import resource
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from urllib.parse import urlsplit

from bench.aims import Limit, Result, Row
from bench.client import VMS, JsonClient, connect
from bench.load import Load, compute_medians, send_load
from bench.options import RunOptions
from bench.servers import run_on_openstack

MAX_LATENCY = 1.5
OPEN_SECONDS = 60.0
EVENT_SECONDS = 30.0
SPARE_FILES = 200
CREATE_BODY = {"flavor": "m1.tiny", "image": "cirros"}
REQUEST = b"GET /api/v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n"


class StreamClients:
    """Clients that each read one event stream."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._address = (address.hostname, address.port)
        self._selector = selectors.DefaultSelector()
        self._received: dict[socket.socket, bytes] = {}

    def open(self, count: int) -> None:
        """Open streams. Raises RuntimeError unless all of them get the status 200."""
        for _ in range(count):
            client = socket.create_connection(self._address)
            client.sendall(REQUEST)
            client.setblocking(False)
            self._selector.register(client, selectors.EVENT_READ)
            self._received[client] = b""
        self._read_until(b"\r\n\r\n", OPEN_SECONDS)
        heads = [text.partition(b"\r\n")[0] for text in self._received.values()]
        if refused := [head for head in heads if b" 200 " not in head]:
            raise RuntimeError(f"{len(refused)} of {count} streams: {refused[0].decode()}")

    def wait_for_event(self, vm_id: str) -> None:
        """Wait until all streams have an event of a VM. Raises RuntimeError."""
        self._read_until(vm_id.encode(), EVENT_SECONDS)

    def _read_until(self, text: bytes, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while waiting := sum(text not in received for received in self._received.values()):
            for key, _ in self._selector.select(1):
                client = key.fileobj
                assert isinstance(client, socket.socket)
                chunk = client.recv(65536)
                if not chunk:
                    raise RuntimeError("the server has closed an event stream")
                self._received[client] += chunk
            if time.monotonic() > deadline:
                raise RuntimeError(f"{waiting} of {len(self._received)} streams lack {text!r}")

    def close(self) -> None:
        """Close all streams."""
        self._selector.close()
        for client in self._received:
            client.close()


def measure_streams(options: RunOptions) -> Iterator[Result]:
    """Measure the latency of a read with and without event streams."""
    scale = options.scale
    raise_file_limit(scale.streams + SPARE_FILES)
    with ExitStack() as stack:
        server = stack.enter_context(
            run_on_openstack(options, settings=build_settings(scale.streams))
        )
        client = stack.enter_context(connect(server.url))
        vm_id = client.call("POST", VMS, {"name": "first", **CREATE_BODY})["id"]
        # one connection: the latency of a request that waits for no other
        send = partial(send_load, server, f"{VMS}/{vm_id}", scale.seconds, connections=1)
        alone = [send() for _ in range(scale.rounds)]
        clients = StreamClients(server.url)
        stack.callback(clients.close)
        clients.open(scale.streams)
        busy = [send() for _ in range(scale.rounds)]
        yield from compare_latency(scale.streams, compute_medians(alone), compute_medians(busy))
        yield measure_delivery(client, clients, scale.streams)


def build_settings(streams: int) -> dict[str, str]:
    """Return the settings of a server for many streams of one client."""
    return {"VMAPI_EVENT_STREAMS": str(streams), "VMAPI_CALLER_STREAMS": str(streams)}


def compare_latency(streams: int, alone: Load, busy: Load) -> Iterator[Row]:
    """Compare the latency with streams to the one without."""
    yield Row(
        "8",
        f"one VM, with {streams:,} idle event streams: p50 latency, relative to no streams",
        busy.median_ms / alone.median_ms,
        "×",
        Limit.at_most(MAX_LATENCY),
        f"{busy.median_ms:.2f} ms, p99 {busy.p99_ms:.2f}; without {alone.median_ms:.2f} ms, "
        f"p99 {alone.p99_ms:.2f}",
    )
    yield Row(
        "8",
        f"one VM, with {streams:,} idle event streams: CPU time, relative to no streams",
        busy.cpu_us / alone.cpu_us,
        "×",
    )


def measure_delivery(client: JsonClient, clients: StreamClients, streams: int) -> Row:
    """Measure the time from a change until every stream has an event."""
    started_at = time.perf_counter()
    vm_id = client.call("POST", VMS, {"name": "second", **CREATE_BODY})["id"]
    accepted = time.perf_counter() - started_at
    clients.wait_for_event(vm_id)
    delivered = time.perf_counter() - started_at
    subject = f"a change until each of {streams:,} streams has its event"
    return Row("8", subject, delivered, "s", detail=f"accepted after {accepted * 1000:.0f} ms")


def raise_file_limit(files: int) -> None:
    """Let this process open more files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(files, hard), hard))
