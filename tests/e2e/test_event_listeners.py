"""Event streams end to end: no listener misses an event, and none keeps hanging."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.databases import THREADS, new_postgresql
from tests.support.event_listener import EVENTS_PATH, ListenerScript, read_example
from tests.support.gateways import Nginx
from tests.support.http_client import WAIT_SECONDS, HttpClient, wait_until
from tests.support.processes import Gunicorn, build_environment, require_program
from vmapi.store import schema
from vmapi.store.database import Database

VMS = "/api/v1/vms"
CREATE_BODY = {"flavor": "m1.tiny", "image": "cirros", "start": True}
LISTENER_KILLS = 6
VMS_PER_KILL = 2
STREAM_END_SECONDS = 20.0
"""Far longer than a stop takes to end a stream, and shorter than the graceful timeout."""


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[ListenerScript]:
    listener = ListenerScript(tmp_path / "events")
    yield listener
    listener.kill()


@pytest.fixture
def postgresql() -> Iterator[str]:
    with new_postgresql() as url:
        database = Database(url, THREADS, schema.ensure_current)
        schema.upgrade(database)
        database.close()
        yield url


def run_vm_lifecycle(call: HttpClient, name: str) -> str:
    """Create and delete a VM; return its id."""
    wait = {"Prefer": "wait=30"}
    created = call("POST", VMS, {"name": name, **CREATE_BODY}, headers=wait)
    assert created.status == 201, created
    assert call("DELETE", f"{VMS}/{created.json['id']}", headers=wait).status == 204
    return str(created.json["id"])


class RawStream:
    """An event stream on a separate connection."""

    def __init__(self, stack: ExitStack, port: int, query: str = "") -> None:
        self.socket = stack.enter_context(
            socket.create_connection(("127.0.0.1", port), WAIT_SECONDS)
        )
        request = f"GET {EVENTS_PATH}{query} HTTP/1.1\r\nHost: a\r\n\r\n"
        self.socket.sendall(request.encode())
        self._file = stack.enter_context(self.socket.makefile("rb"))
        self.status = int(self._file.readline().split()[1])

    def read_to(self, prefix: bytes) -> bytes:
        """Return the next line with a prefix."""
        return next(line for line in self._file if line.startswith(prefix))

    def read_rest(self) -> bytes:
        return self._file.read()


def check_events(received: list[Any], stored: list[Any], vm_ids: list[str]) -> None:
    """Check that every event arrived once, in order, and that each VM has its full history."""
    events = [event for event in received if event["id"]]
    # a listener without a position begins with a reset
    assert [event["kind"] for event in received if not event["id"]].count("events.reset") <= 2
    assert received.index(events[0]) == len(received) - len(events)
    ids = [event["id"] for event in events]
    assert ids == [event["id"] for event in stored]
    assert [int(id) for id in ids] == sorted({int(id) for id in ids})
    for vm_id in vm_ids:
        kinds = [event["kind"] for event in events if event["vm_id"] == vm_id]
        assert (kinds[0], kinds[-2:]) == ("vm.created", ["vm.deleted", "operation.succeeded"])
        assert kinds.count("operation.succeeded") == 2


def read_stored(port: int, count: int) -> list[Any]:
    """Return the stored events, as a late listener receives them."""
    with ExitStack() as stack:
        stream = RawStream(stack, port, "?last_event_id=0")
        lines = [stream.read_to(b"data: ") for _ in range(count + 1)]
    return [json.loads(line[6:]) for line in lines][1:]


def check_killed_listener(listener: ListenerScript, callers: list[HttpClient]) -> None:
    """Kill a listener repeatedly while VMs come and go through several servers."""
    lifecycles: list[Future[str]] = []
    with ThreadPoolExecutor(len(callers)) as pool:
        for kill in range(LISTENER_KILLS):
            count = len(listener.received_events())
            listener.start(callers[kill % len(callers)].port)
            lifecycles += [
                pool.submit(run_vm_lifecycle, call, f"vm-{number}-{kill}-{turn}")
                for turn in range(VMS_PER_KILL)
                for number, call in enumerate(callers)
            ]
            # fewer than those of the new VMs
            listener.wait_for(count + 5)
            listener.kill()
        vm_ids = [lifecycle.result() for lifecycle in lifecycles]
    listener.start(callers[0].port)
    finished_operations = 2 * len(vm_ids)

    def is_complete() -> bool:
        kinds = [event["kind"] for event in listener.received_events()]
        return kinds.count("operation.succeeded") >= finished_operations

    wait_until("the last event", is_complete)
    received = listener.received_events()
    stored_count = sum(bool(event["id"]) for event in received)
    check_events(received, read_stored(callers[-1].port, stored_count), vm_ids)


def test_killed_listener_receives_every_event_once(
    gunicorn: Callable[..., Gunicorn], listener: ListenerScript
) -> None:
    server = gunicorn(VMAPI_MEMORY_LATENCY="0.05")
    server.start().wait_for("/readyz")
    check_killed_listener(listener, [server.call])


def test_killed_listener_resumes_at_another_server(
    tmp_path: Path, servers: list[Any], postgresql: str, listener: ListenerScript
) -> None:
    callers = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        settings = {"VMAPI_DATABASE_URL": postgresql, "VMAPI_MEMORY_LATENCY": "0.05"}
        server = Gunicorn(tmp_path / name, **settings)
        servers.append(server)
        server.start().wait_for("/readyz")
        # the first read syncs with the cloud of this server: no VM of the other one exists yet
        assert server.call.get_json(VMS)["items"] == []
        callers.append(server.call)
    check_killed_listener(listener, callers)


def test_nginx_passes_events_to_curl_immediately(front: Nginx) -> None:
    require_program("curl", "curl")
    script = f"exec {read_example('sh')}".replace("127.0.0.1:8000", f"127.0.0.1:{front.port}")
    command = ("bash", "-euc", script)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=build_environment()
    ) as curl:
        assert curl.stdout is not None
        try:
            assert curl.stdout.readline() == b"retry: 3000\n"
            vm_id = run_vm_lifecycle(front.call, "curled")
            lines = iter(curl.stdout.readline, b"")
            data = [json.loads(line[6:]) for line in (read_data(lines), read_data(lines))]
        finally:
            curl.kill()
    received = [(event["kind"], event["vm_id"]) for event in data]
    assert received == [("vm.created", vm_id), ("vm.deleted", vm_id)]


def read_data(lines: Iterator[bytes]) -> bytes:
    return next(line for line in lines if line.startswith(b"data: "))


def test_streams_beyond_the_limit_are_rejected(gunicorn: Callable[..., Gunicorn]) -> None:
    limits = {"VMAPI_EVENT_STREAMS": "50", "VMAPI_CALLER_STREAMS": "60"}
    limits |= {"VMAPI_RATE_READS": "off", "VMAPI_RATE_ADDRESS": "off"}
    server = gunicorn(VMAPI_THREADS="104", **limits)
    server.start().wait_for("/readyz")
    with ExitStack() as stack:
        streams = [RawStream(stack, server.port) for _ in range(50)]
        for stream in streams:
            stream.read_to(b"id: ")
        for _ in range(950):
            answer = server.call("GET", EVENTS_PATH)
            problem = answer.check_problem(429, "rate_limited")
            assert answer.headers["Retry-After"] == "5"
        assert problem["detail"] == (
            "All slots are in use: at most 50 event streams are open here."
        )
        # other requests are served, and open streams receive their events
        vm_id = run_vm_lifecycle(server.call, "crowded")
        for stream in streams:
            assert vm_id.encode() in stream.read_to(b"data: ")
    # a closed connection frees its slot, even without events
    with ExitStack() as stack:

        def can_open() -> bool:
            return RawStream(stack, server.port).status == 200

        wait_until("a free slot", can_open)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_shutdown_ends_open_streams(
    gunicorn: Callable[..., Gunicorn], number: signal.Signals
) -> None:
    server = gunicorn()
    server.start().wait_for("/readyz")
    with ExitStack() as stack:
        streams = [RawStream(stack, server.port) for _ in range(3)]
        for stream in streams:
            stream.read_to(b"id: ")
        os.kill(server.pid, number)
        for stream in streams:
            stream.socket.settimeout(STREAM_END_SECONDS)
            # the last chunk: the stream ended regularly
            assert stream.read_rest().endswith(b"0\r\n\r\n")
        assert server.wait_for_exit() == 0
    assert [line["level"] for line in server.log_lines() if line["level"] == "error"] == []
