"""Requests that the worker serves in its poller thread, and those that wait in another one."""

import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.http_client import WAIT_SECONDS
from tests.support.worker_thread import serve
from vmapi.concurrency.nonblocking import current_batch, raise_if_nonblocking, run_once
from vmapi.server.client_socket import ClientSocket

PIPELINED_REQUESTS = 1500
"""More than Python has stack frames."""

GET_VMS = b"GET /api/v1/vms HTTP/1.1\r\nHost: a\r\n\r\n"
GET_WAITING_VM = b"GET /api/v1/vms/waiting HTTP/1.1\r\nHost: a\r\n\r\n"
POST_VM = b"POST /api/v1/vms HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}"
LAST_REQUEST = b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class ThreadNamingApp:
    """A WSGI app that responds with the kind of its thread, and how often a step has run."""

    def __init__(self) -> None:
        self.steps_run = 0

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        def step() -> int:
            self.steps_run += 1
            return self.steps_run

        number = run_once("step", step)
        if environ["PATH_INFO"].endswith("/waiting"):
            raise_if_nonblocking()
        is_pooled = threading.current_thread().name.startswith("request")
        body = f"{'request thread' if is_pooled else 'poller thread'} {number}\n".encode()
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]


@pytest.fixture
def address() -> Iterator[tuple[str, int]]:
    """The address of a worker that serves the app in a thread of this process."""
    with serve(ThreadNamingApp()) as worker:
        yield worker.address


def send(address: tuple[str, int], requests: bytes) -> list[str]:
    """Send pipelined requests; return the bodies of the responses."""
    with socket.create_connection(address, WAIT_SECONDS) as client:
        client.sendall(requests + LAST_REQUEST)
        received = b""
        while chunk := client.recv(65536):
            received += chunk
    lines = received.decode().splitlines()
    return [line for line in lines if "thread " in line]


def test_read_is_served_in_the_poller_thread(address: tuple[str, int]) -> None:
    assert send(address, GET_VMS) == ["poller thread 1", "poller thread 2"]


@pytest.mark.parametrize("first_request", [GET_VMS, GET_WAITING_VM, POST_VM])
def test_head_and_body_of_a_response_share_a_system_call(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch, first_request: bytes
) -> None:
    sent: list[int] = []
    sendmsg = ClientSocket.sendmsg

    def record_and_send(client: ClientSocket, views: list[memoryview], *options: Any) -> int:
        sent.append(len(views))
        return sendmsg(client, views, *options)

    monkeypatch.setattr(ClientSocket, "sendmsg", record_and_send)
    send(address, first_request)
    assert sent == [2, 2]


class FailingBody:
    """A body that fails after its first block, or at its end."""

    def __init__(self, *, fails_at_end: bool) -> None:
        self._fails_at_end = fails_at_end

    def __iter__(self) -> Iterator[bytes]:
        yield b"first block"
        if not self._fails_at_end:
            raise RuntimeError

    def close(self) -> None:
        if self._fails_at_end:
            raise RuntimeError


@pytest.mark.parametrize("failing_request", [GET_VMS, GET_WAITING_VM, POST_VM])
@pytest.mark.parametrize("fails_at_end", [True, False])
def test_body_that_fails_ends_its_own_connection_only(
    failing_request: bytes, fails_at_end: bool
) -> None:
    naming_app = ThreadNamingApp()

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = naming_app(environ, start_response)
        is_last = environ["PATH_INFO"] == "/livez"
        return body if is_last else FailingBody(fails_at_end=fails_at_end)

    with serve(app) as worker:
        with socket.create_connection(worker.address, WAIT_SECONDS) as client:
            client.sendall(failing_request)
            assert client.recv(65536) == b""
        assert send(worker.address, b"") == ["poller thread 2"]


def test_change_is_served_in_a_request_thread(address: tuple[str, int]) -> None:
    assert send(address, POST_VM) == ["request thread 1", "poller thread 2"]


def test_read_that_would_wait_is_served_again_in_a_request_thread(
    address: tuple[str, int],
) -> None:
    assert send(address, GET_WAITING_VM + GET_VMS) == [
        "request thread 1",
        "poller thread 2",
        "poller thread 3",
    ]


def test_many_pipelined_reads_are_served_in_order(address: tuple[str, int]) -> None:
    expected = [f"poller thread {number + 1}" for number in range(PIPELINED_REQUESTS + 1)]
    assert send(address, GET_VMS * PIPELINED_REQUESTS) == expected


class BatchRecordingApp:
    """A WSGI app that records the batch of each request; `/vms/slow` waits for the test."""

    def __init__(self) -> None:
        self.batches: dict[str, object] = {}
        self.is_serving, self.may_respond = threading.Event(), threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        name = environ["PATH_INFO"].rpartition("/")[2]
        self.batches[name] = current_batch()
        if name == "slow":
            self.is_serving.set()
            assert self.may_respond.wait(WAIT_SECONDS)
        start_response("200 OK", [("Content-Length", "2")])
        return [b"{}"]


def read_empty_object(client: socket.socket) -> None:
    """Read a response with the body `{}`."""
    received = b""
    while not received.endswith(b"{}"):
        received += client.recv(65536)


def test_reads_that_arrive_together_are_one_batch() -> None:
    app = BatchRecordingApp()
    with serve(app) as worker, ExitStack() as stack:

        def send_read(client: socket.socket, name: str) -> None:
            client.sendall(b"GET /api/v1/vms/%s HTTP/1.1\r\nHost: a\r\n\r\n" % name.encode())

        clients = [
            stack.enter_context(socket.create_connection(worker.address, WAIT_SECONDS))
            for _ in range(3)
        ]
        for client in clients:
            send_read(client, "alone")
            read_empty_object(client)
        send_read(clients[0], "slow")
        assert app.is_serving.wait(WAIT_SECONDS)
        send_read(clients[1], "first")
        send_read(clients[2], "second")
        app.may_respond.set()
        for client in clients:
            read_empty_object(client)
        clients[0].sendall(POST_VM)
        read_empty_object(clients[0])
    assert app.batches["first"] is app.batches["second"] is not None
    assert app.batches["alone"] is not app.batches["slow"] is not app.batches["first"]
    assert app.batches["vms"] is None
