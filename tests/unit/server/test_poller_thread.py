"""Requests that the worker serves in its poller thread, and those that wait in another one."""

import socket
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from tests.support.http_client import WAIT_SECONDS
from tests.support.worker_thread import serve
from vmapi.concurrency.nonblocking import raise_if_nonblocking, run_once

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
