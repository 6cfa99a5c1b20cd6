"""Listening to a vmapi as operators run it: nobody skips an event, and nobody stays hanging."""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.databases import THREADS, new_postgresql
from tests.support.event_listener import EVENTS_PATH, ListenerScript, read_example
from tests.support.http_client import WAIT_SECONDS, HttpClient, wait_until
from tests.support.processes import Gunicorn, Nginx, build_environment, require_program
from vmapi.store import schema
from vmapi.store.database import Database

VMS = "/api/v1/vms"
WANTED = {"flavor": "m1.tiny", "image": "cirros", "start": True}
DEATHS = 6
LIVES = 12
SHORTEST = ["vm.created", "vm.changed", "operation.succeeded", "vm.changed", "vm.deleted"]


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[ListenerScript]:
    listener = ListenerScript(tmp_path / "told")
    yield listener
    listener.kill()


@pytest.fixture
def postgresql() -> Iterator[str]:
    with new_postgresql() as url:
        database = Database(url, THREADS, schema.ensure_current)
        schema.upgrade(database)
        database.close()
        yield url


def live(call: HttpClient, name: str) -> str:
    """Have a VM made and deleted; return its id."""
    wait = {"Prefer": "wait=30"}
    made = call("POST", VMS, {"name": name, **WANTED}, headers=wait)
    assert made.status == 201, made
    assert call("DELETE", f"{VMS}/{made.json['id']}", headers=wait).status == 204
    return str(made.json["id"])


class Stream:
    """A stream of events on a connection of its own."""

    def __init__(self, stack: ExitStack, port: int, query: str = "") -> None:
        self.socket = stack.enter_context(
            socket.create_connection(("127.0.0.1", port), WAIT_SECONDS)
        )
        request = f"GET {EVENTS_PATH}{query} HTTP/1.1\r\nHost: a\r\n\r\n"
        self.socket.sendall(request.encode())
        self._file = stack.enter_context(self.socket.makefile("rb"))
        self.status = int(self._file.readline().split()[1])

    def read_to(self, beginning: bytes) -> bytes:
        """Return the first line that begins so."""
        return next(line for line in self._file if line.startswith(beginning))

    def rest(self) -> bytes:
        return self._file.read()


def check(told: list[Any], everything: list[Any], lived: list[str]) -> None:
    """See that everything was told once, in order, and the lives of VMs from their beginning."""
    events = [event for event in told if event["id"]]
    # who knows nothing yet begins with a reset
    assert [event["kind"] for event in told if not event["id"]].count("events.reset") <= 2
    assert told.index(events[0]) == len(told) - len(events)
    ids = [event["id"] for event in events]
    assert ids == [event["id"] for event in everything]
    assert [int(id) for id in ids] == sorted({int(id) for id in ids})
    for vm_id in lived:
        kinds = [event["kind"] for event in events if event["vm_id"] == vm_id]
        assert (kinds[0], kinds[-2:]) == ("vm.created", ["vm.deleted", "operation.succeeded"])
        assert kinds.count("operation.succeeded") == 2


def everything(port: int, count: int) -> list[Any]:
    """Return what is kept, as one who comes late is told it."""
    with ExitStack() as stack:
        stream = Stream(stack, port, "?last_event_id=0")
        lines = [stream.read_to(b"data: ") for _ in range(count + 1)]
    return [json.loads(line[6:]) for line in lines][1:]


def survive(listener: ListenerScript, callers: list[HttpClient]) -> None:
    """Have a listener die while VMs come and go by way of several servers."""
    lived: list[str] = []

    def work(number: int) -> None:
        lived.extend(live(callers[number], f"vm-{number}-{turn}") for turn in range(LIVES))

    working = [threading.Thread(target=work, args=(number,)) for number in range(len(callers))]
    for thread in working:
        thread.start()
    try:
        for death in range(DEATHS):
            listener.start(callers[death % len(callers)].port)
            listener.wait_for(len(listener.received_events()) + 5)
            listener.kill()
    finally:
        for thread in working:
            thread.join()
    assert len(lived) == LIVES * len(callers)
    listener.start(callers[0].port)
    ended = 2 * len(lived)

    def over() -> bool:
        kinds = [event["kind"] for event in listener.received_events()]
        return kinds.count("operation.succeeded") >= ended

    wait_until("the end", over)
    told = listener.received_events()
    kept = sum(bool(event["id"]) for event in told)
    check(told, everything(callers[-1].port, kept), lived)


def test_a_listener_that_dies_sees_everything_once(
    gunicorn: Callable[..., Gunicorn], listener: ListenerScript
) -> None:
    server = gunicorn(VMAPI_MEMORY_LATENCY="0.05")
    server.start().wait_for("/readyz")
    survive(listener, [server.call])


def test_it_goes_on_at_another_server_while_both_write(
    tmp_path: Path, servers: list[Any], postgresql: str, listener: ListenerScript
) -> None:
    callers = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        settings = {"VMAPI_DATABASE_URL": postgresql, "VMAPI_MEMORY_LATENCY": "0.05"}
        server = Gunicorn(tmp_path / name, **settings)
        servers.append(server)
        server.start().wait_for("/readyz")
        callers.append(server.call)
    survive(listener, callers)


def test_curl_is_told_at_once_through_nginx(front: Nginx) -> None:
    require_program("curl", "curl")
    script = f"exec {read_example('sh')}".replace("127.0.0.1:8000", f"127.0.0.1:{front.port}")
    command = ("bash", "-euc", script)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=build_environment()
    ) as curl:
        assert curl.stdout is not None
        try:
            assert curl.stdout.readline() == b"retry: 3000\n"
            vm_id = live(front.call, "curled")
            lines = iter(curl.stdout.readline, b"")
            data = [json.loads(line[6:]) for line in (next_data(lines), next_data(lines))]
        finally:
            curl.kill()
    told = [(event["kind"], event["vm_id"]) for event in data]
    assert told == [("vm.created", vm_id), ("vm.deleted", vm_id)]


def next_data(lines: Iterator[bytes]) -> bytes:
    return next(line for line in lines if line.startswith(b"data: "))


def test_a_thousand_where_fifty_may(gunicorn: Callable[..., Gunicorn]) -> None:
    limits = {"VMAPI_EVENT_STREAMS": "50", "VMAPI_CALLER_STREAMS": "60"}
    limits |= {"VMAPI_RATE_READS": "off", "VMAPI_RATE_ADDRESS": "off"}
    server = gunicorn(VMAPI_THREADS="104", **limits)
    server.start().wait_for("/readyz")
    with ExitStack() as stack:
        streams = [Stream(stack, server.port) for _ in range(50)]
        for stream in streams:
            stream.read_to(b"id: ")
        for _ in range(950):
            answer = server.call("GET", EVENTS_PATH)
            problem = answer.check_problem(429, "rate_limited")
            assert answer.headers["Retry-After"] == "5"
        assert problem["detail"] == (
            "All slots are in use: at most 50 event streams are open here."
        )
        # the others are served, and told
        vm_id = live(server.call, "crowded")
        for stream in streams:
            assert vm_id.encode() in stream.read_to(b"data: ")
    # who hangs up makes room, though nothing happens that it could be told of
    with ExitStack() as stack:

        def opens() -> bool:
            return Stream(stack, server.port).status == 200

        wait_until("a place", opens)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_who_stops_lets_its_listeners_go(
    gunicorn: Callable[..., Gunicorn], number: signal.Signals
) -> None:
    server = gunicorn()
    server.start().wait_for("/readyz")
    with ExitStack() as stack:
        streams = [Stream(stack, server.port) for _ in range(3)]
        for stream in streams:
            stream.read_to(b"id: ")
        os.kill(server.pid, number)
        for stream in streams:
            # the last chunk: it has ended, and was not cut off
            assert stream.rest().endswith(b"0\r\n\r\n")
        assert server.wait_for_exit() == 0
    assert [line["level"] for line in server.log_lines() if line["level"] == "error"] == []
