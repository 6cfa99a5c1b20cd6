"""Response bodies that the poller thread writes, and no request thread."""

import logging
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from gunicorn.config import Config

from tests.support.fake_body import (
    GET,
    FakeBody,
    OpenReader,
    StreamApp,
    StreamReader,
    check_served,
)
from tests.support.http_client import WAIT_SECONDS, wait_until
from tests.support.worker_thread import WorkerThread, serve
from vmapi.api.request import client_connection
from vmapi.server import body_writer, connection_poller
from vmapi.server.body_writer import BodyWriter
from vmapi.server.connection import Connection

LARGE_CHUNK = bytes(50_000_000)
"""More than the socket buffers of both sides."""


def wait_for_release(body: FakeBody) -> None:
    wait_until("the release of the body", lambda: body.is_released)


def test_streams_hold_no_request_thread(
    worker: WorkerThread, open_reader: OpenReader, bodies: list[FakeBody]
) -> None:
    # the worker has one request thread
    readers = [open_reader(number) for number in range(len(bodies))]
    check_served(worker.address)
    for turn in range(3):
        for number, body in enumerate(bodies):
            body.push(b"%d %d" % (turn, number))
        for number, reader in enumerate(readers):
            assert reader.read_chunk() == b"%d %d" % (turn, number)
    assert [(body.is_closed_by_app, body.is_released) for body in bodies] == [(True, False)] * 8


def test_connection_serves_other_requests_after_the_stream(
    open_reader: OpenReader, bodies: list[FakeBody]
) -> None:
    reader = open_reader()
    assert b"Connection: keep-alive\r\n" in reader.head
    reader.socket.sendall(GET)
    bodies[0].push(b"news")
    assert reader.read_chunk() == b"news"
    reader.socket.sendall(GET)
    bodies[0].end()
    bodies[0].wake()
    assert reader.read_chunk() == b""
    for _ in range(2):
        assert reader.read_line() == b"HTTP/1.1 200 OK\r\n"
        while reader.read_line() != b"ok\n":
            pass
    assert bodies[0].is_released


def test_stream_of_an_old_client_ends_with_its_connection(
    open_reader: OpenReader, bodies: list[FakeBody]
) -> None:
    reader = open_reader(version="1.0")
    bodies[0].push(b"news\n")
    assert reader.read_line() == b"news\n"
    bodies[0].end()
    bodies[0].wake()
    assert reader.read_line() == b""


def test_slow_reader_gets_all_bytes_and_delays_no_other_client(
    worker: WorkerThread, open_reader: OpenReader, bodies: list[FakeBody]
) -> None:
    slow, fast = open_reader(0), open_reader(1)
    # the next request, which the server must not read on during the stream
    slow.socket.sendall(GET)
    bodies[0].push(LARGE_CHUNK, b"last")
    bodies[1].push(b"news")
    assert fast.read_chunk() == b"news"
    check_served(worker.address)
    assert slow.read_chunks(2) == [LARGE_CHUNK, b"last"]
    bodies[0].push(b"more")
    assert slow.read_chunk() == b"more"


def test_stream_with_endless_bytes_delays_no_other_client(
    worker: WorkerThread, open_reader: OpenReader, bodies: list[FakeBody]
) -> None:
    endless, other = open_reader(0), open_reader(1)
    is_served = threading.Event()
    bodies[0].read = lambda: None if is_served.is_set() else b"more"
    # the client is fast: no write has to wait for it
    reading = threading.Thread(target=lambda: list(iter(endless.read_chunk, b"")))
    reading.start()
    bodies[1].push(b"news")
    try:
        assert other.read_chunk() == b"news"
        for _ in range(20):
            check_served(worker.address)
    finally:
        is_served.set()
        reading.join()


@pytest.mark.parametrize("sent", [b"", GET])
def test_client_that_hangs_up_ends_its_stream(
    open_reader: OpenReader, bodies: list[FakeBody], sent: bytes
) -> None:
    reader = open_reader()
    reader.socket.sendall(sent)
    reader.close()
    if sent:
        # the next request hides the end of the client, and a write finds it
        wait_until("a reset", lambda: bodies[0].push(b"news") or bodies[0].is_released)
    wait_for_release(bodies[0])


def test_client_that_reads_nothing_is_disconnected(
    monkeypatch: pytest.MonkeyPatch, bodies: list[FakeBody]
) -> None:
    assert connection_poller.WRITE_TIMEOUT_SECONDS == client_connection.WRITE_TIMEOUT_SECONDS
    monkeypatch.setattr(connection_poller, "WRITE_TIMEOUT_SECONDS", 0.1)
    with serve(StreamApp(bodies)) as worker:
        reader = StreamReader(worker.address)
        bodies[0].push(LARGE_CHUNK)
        wait_for_release(bodies[0])
        with pytest.raises(ConnectionResetError):
            reader.read_chunks(3)
        reader.close()


def test_bytes_are_loaded_in_other_threads(
    worker: WorkerThread, open_reader: OpenReader, bodies: list[FakeBody]
) -> None:
    readers = [open_reader(number) for number in range(5)]
    for body in bodies[:4]:
        body.must_load = True
        body.wake()
    # a dependency hangs: others get their bytes, and there are few threads
    bodies[4].push(b"news")
    assert readers[4].read_chunk() == b"news"
    check_served(worker.address)
    assert count_threads("stream-loader") <= body_writer.LOADING_THREADS
    for body, reader in zip(bodies[:4], readers, strict=False):
        body.load_gate.set()
        assert reader.read_chunk() == b"loaded\n"
        assert body.loading_threads[0].startswith("stream-loader")


def count_threads(prefix: str) -> int:
    return sum(thread.name.startswith(prefix) for thread in threading.enumerate())


def test_client_may_hang_up_while_its_bytes_are_loaded(
    worker: WorkerThread, open_reader: OpenReader, bodies: list[FakeBody]
) -> None:
    reader = open_reader()
    bodies[0].must_load = True
    bodies[0].wake()
    assert bodies[0].load_begun.wait(WAIT_SECONDS)
    reader.close()
    wait_for_release(bodies[0])
    bodies[0].load_gate.set()
    wait_until("the end of the load", lambda: bodies[0].loading_threads)
    check_served(worker.address)


def test_due_body_is_read_without_a_notification(
    open_reader: OpenReader, bodies: list[FakeBody]
) -> None:
    reader = open_reader()
    bodies[0].due_at = 0.0
    assert reader.read_chunk() == b"due\n"


def test_refused_credentials_end_their_streams_only(
    monkeypatch: pytest.MonkeyPatch, open_reader: OpenReader, bodies: list[FakeBody]
) -> None:
    monkeypatch.setattr(body_writer, "CREDENTIALS_CHECK_SECONDS", 0.01)
    checking_threads: list[str] = []

    def refuse() -> bool:
        checking_threads.append(threading.current_thread().name)
        return False

    def fail() -> bool:
        raise KeyError("defect")

    readers = [open_reader(number) for number in range(3)]
    bodies[0].is_permitted, bodies[1].is_permitted = refuse, fail
    assert [reader.read_chunk() for reader in readers[:2]] == [b"", b""]
    assert {name.rpartition("_")[0] for name in checking_threads} == {"stream-credentials"}
    bodies[2].push(b"news")
    assert readers[2].read_chunk() == b"news"


def test_streams_with_equal_credentials_share_a_check(
    monkeypatch: pytest.MonkeyPatch, open_reader: OpenReader, bodies: list[FakeBody]
) -> None:
    monkeypatch.setattr(body_writer, "CREDENTIALS_CHECK_SECONDS", 0.01)
    readers = [open_reader(number) for number in range(4)]
    for body in bodies:
        body.credentials = "shared"
    checks: list[int] = []
    # the newest stream is asked for all of them
    bodies[3].is_permitted = lambda: bool(checks.append(3))
    assert [reader.read_chunk() for reader in readers] == [b""] * 4
    assert checks


def test_stop_of_the_worker_ends_streams(
    worker: WorkerThread, open_reader: OpenReader, bodies: list[FakeBody]
) -> None:
    readers = [open_reader(number) for number in range(3)]
    for reader, body in zip(readers, bodies, strict=False):
        body.push(b"news")
        assert reader.read_chunk() == b"news"
    worker.stop()
    for reader, body in zip(readers, bodies, strict=False):
        assert reader.read_chunk() == b""
        wait_for_release(body)


@pytest.mark.parametrize("is_late", [False, True])
def test_abort_ends_a_stream_that_waits_for_the_poller(is_late: bool) -> None:
    server, client = socket.socketpair()
    with client, ThreadPoolExecutor(1) as request_thread:
        clients: Any = None
        writer = BodyWriter(clients, request_thread.submit)
        conn = Connection(Config(), server, "", "")
        conn.is_chunked = True
        steps = [partial(writer.announce, conn), writer.abort]
        for step in reversed(steps) if is_late else steps:
            request_thread.submit(step).result()
        conn.close()
        assert client.recv(100) == b"0\r\n\r\n"


def test_defect_of_a_body_ends_its_connection_only(
    worker: WorkerThread,
    open_reader: OpenReader,
    bodies: list[FakeBody],
    caplog: pytest.LogCaptureFixture,
) -> None:
    reader = open_reader()
    bodies[0].error = KeyError("defect")
    with caplog.at_level(logging.CRITICAL):
        bodies[0].wake()
        # the client notices that the end is missing
        assert reader.read_line() == b""
    wait_for_release(bodies[0])
    check_served(worker.address)


@pytest.mark.parametrize("connections", [12])
def test_idle_connections_evict_no_stream(
    worker: WorkerThread, open_reader: OpenReader, bodies: list[FakeBody]
) -> None:
    readers = [open_reader(number) for number in range(6)]
    with ExitStack() as stack:
        for _ in range(30):
            stack.enter_context(socket.create_connection(worker.address, WAIT_SECONDS))
        check_served(worker.address)
    for reader, body in zip(readers, bodies, strict=False):
        body.push(b"news")
        assert reader.read_chunk() == b"news"


@pytest.mark.parametrize("connections", [12])
def test_streams_leave_connections_for_other_clients(
    worker: WorkerThread, open_reader: OpenReader, bodies: list[FakeBody]
) -> None:
    readers = [open_reader(number) for number in range(8)]
    # the oldest ones end
    assert [reader.read_chunk() for reader in readers[:2]] == [b"", b""]
    check_served(worker.address)
    bodies[2].push(b"news")
    assert readers[2].read_chunk() == b"news"
