"""Streams of clients that vanish or read nothing, and streams that wait for a loader."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.support.fake_body import (
    FIRST_BYTES,
    FakeBody,
    OpenReader,
    StreamApp,
    StreamReader,
    check_served,
)
from tests.support.http_client import WAIT_SECONDS, wait_until
from tests.support.vanished_client import drop_packets
from tests.support.worker_thread import WorkerThread, serve
from vmapi.api.request import client_connection
from vmapi.server import connection_poller
from vmapi.server.body_writer import LOADING_THREADS

CHUNK = bytes(64 * 1024)
MAX_SOCKET_BYTES = 1024 * 1024
"""More than both sockets of a connection hold under the limits of streams."""

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the limits are those of Linux")


@pytest.fixture
def impatient_worker(
    monkeypatch: pytest.MonkeyPatch, bodies: list[FakeBody]
) -> Iterator[WorkerThread]:
    """A worker that disconnects a client after half a second."""
    for module in (client_connection, connection_poller):
        monkeypatch.setattr(module, "WRITE_TIMEOUT_SECONDS", 0.5)
    with serve(StreamApp(bodies)) as worker:
        yield worker


@contextmanager
def open_readers(worker: WorkerThread, count: int) -> Iterator[list[StreamReader]]:
    """Open streams, and read their first bytes."""
    with ExitStack() as stack:
        readers = [StreamReader(worker.address, number) for number in range(count)]
        for reader in readers:
            stack.callback(reader.close)
            assert reader.read_chunk() == FIRST_BYTES
        yield readers


@on_linux
def test_client_that_vanishes_is_disconnected(
    impatient_worker: WorkerThread, bodies: list[FakeBody]
) -> None:
    with open_readers(impatient_worker, 2) as (vanished, other):
        drop_packets(vanished.socket)
        # as a heartbeat
        bodies[0].push(b"news")
        wait_until("the release of the body", lambda: bodies[0].is_released)
        assert not bodies[1].is_released
        bodies[1].push(b"news")
        assert other.read_chunk() == b"news"


@on_linux
def test_kernel_holds_few_bytes_of_a_client_that_reads_nothing(
    impatient_worker: WorkerThread, bodies: list[FakeBody]
) -> None:
    chunks: list[bytes] = []

    def read() -> bytes:
        chunks.append(CHUNK)
        return CHUNK

    with open_readers(impatient_worker, 1):
        bodies[0].read = read
        bodies[0].wake()
        wait_until("the release of the body", lambda: bodies[0].is_released)
    assert len(CHUNK) * len(chunks) <= MAX_SOCKET_BYTES
    check_served(impatient_worker.address)


def test_streams_of_one_caller_do_not_delay_those_of_others(
    worker: WorkerThread, open_reader: OpenReader, bodies: list[FakeBody]
) -> None:
    readers = [open_reader(number) for number in range(len(bodies))]
    *crowd, other = bodies
    for body in crowd:
        body.credentials = "crowd"
    for number, body in enumerate(bodies):
        body.must_load = True
        body.wake()
        if number < LOADING_THREADS:
            assert body.load_begun.wait(WAIT_SECONDS)
    wait_until("the last stream in the queue", lambda: other.has_blocked)
    check_served(worker.address)
    for body in crowd[:LOADING_THREADS]:
        body.load_gate.set()
    # the first ones of the crowd have finished; then the callers take turns
    assert other.load_begun.wait(WAIT_SECONDS)
    assert sum(body.load_begun.is_set() for body in crowd) <= LOADING_THREADS + 1
    for body in bodies:
        body.load_gate.set()
    assert [reader.read_chunk() for reader in readers] == [b"loaded\n"] * len(bodies)
