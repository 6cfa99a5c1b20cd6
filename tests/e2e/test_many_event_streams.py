"""Many event streams at one server: none holds a thread, and none misses an event."""

import os
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.support.http_client import HttpClient
from tests.support.processes import Gunicorn
from tests.support.stream_crowd import EVENTS_PATH, CrowdStream, StreamCrowd
from vmapi.settings.settings import Settings

VMS = "/api/v1/vms"
CREATE_BODY = {"flavor": "m1.tiny", "image": "cirros", "start": True}
LIMITS = {"VMAPI_RATE_READS": "off", "VMAPI_RATE_ADDRESS": "off", "VMAPI_RATE_CHANGES": "off"}
STREAMS = 1000
MAX_REFUSED_STREAMS = 20
"""Streams that a slow database may refuse with a 503 while all begin at once."""

THREADS = 2
OTHER_THREADS = 20
"""Threads of a process besides those of requests."""

RESUMING_STREAMS = 20
BURST_VMS = 30


def create_vm(call: HttpClient, name: str) -> str:
    created = call("POST", VMS, {"name": name, **CREATE_BODY}, headers={"Prefer": "wait=30"})
    assert created.status == 201, created
    return str(created.json["id"])


def count_threads(server: Gunicorn) -> int:
    """Return the threads of the worker."""
    (worker,) = server.child_pids()
    status = Path(f"/proc/{worker}/status").read_text()
    return int(status.partition("Threads:")[2].split()[0])


def has_first_bytes(stream: CrowdStream) -> bool:
    return b": heartbeat\nid: " in stream.text


def test_thousand_streams_hold_no_thread(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn(VMAPI_THREADS=str(THREADS), VMAPI_CALLER_STREAMS=str(STREAMS + 1), **LIMITS)
    server.start().wait_for("/readyz")
    with closing(StreamCrowd(server.port, STREAMS)) as crowd:
        crowd.connect(crowd.streams)
        crowd.read_until(has_first_bytes)
        assert crowd.refused_count <= MAX_REFUSED_STREAMS
        problem = server.call("GET", EVENTS_PATH).check_problem(429, "rate_limited")
        assert problem["detail"] == (
            f"All slots are in use: at most {STREAMS} event streams are open here."
        )
        # waiting requests have their threads, and reads are served
        vm_id = create_vm(server.call, "crowded")
        assert server.call.get_json(f"{VMS}/{vm_id}")["name"] == "crowded"
        crowd.read_until(lambda stream: b"event: operation.succeeded\n" in stream.text)
        assert {tuple(stream.ids) for stream in crowd.streams} == {tuple(crowd.streams[0].ids)}
        assert crowd.streams[0].text.count(vm_id.encode()) >= len(crowd.streams[0].ids)
        assert count_threads(server) <= Settings(threads=THREADS).request_threads + OTHER_THREADS
        os.kill(server.pid, signal.SIGTERM)
        crowd.read_until(lambda stream: stream.is_ended)
        assert server.wait_for_exit() == 0
    assert [line for line in server.log_lines() if line["level"] == "error"] == []


def test_streams_resume_without_loss_in_a_burst(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn(VMAPI_CALLER_STREAMS="100", **LIMITS)
    server.start().wait_for("/readyz")
    with closing(StreamCrowd(server.port, RESUMING_STREAMS)) as crowd:
        crowd.connect(crowd.streams)
        crowd.read_until(has_first_bytes)
        create_vm(server.call, "vm-first")
        crowd.read_until(lambda stream: len(stream.ids) > 0)
        for number in range(BURST_VMS):
            # without any stream, the server forgets its buffer: the database has the events
            reconnecting = crowd.streams if number % 5 == 0 else crowd.streams[number % 4 :: 4]
            crowd.disconnect(reconnecting)
            create_vm(server.call, f"vm-{number}")
            crowd.connect(reconnecting)
            crowd.read()
        create_vm(server.call, "vm-last")
        crowd.read_until(lambda stream: b'"name":"vm-last"' in stream.text)
        crowd.read_until(lambda stream: stream.ids[-1] == newest_id(crowd))
        received = {tuple(stream.ids) for stream in crowd.streams}
        assert len(received) == 1
        assert_complete(server, received.pop())


def newest_id(crowd: StreamCrowd) -> str:
    return max(stream.ids[-1] for stream in crowd.streams)


def assert_complete(server: Gunicorn, ids: tuple[str, ...]) -> None:
    """Check ids against the stored events, as a late client receives them."""
    with closing(StreamCrowd(server.port, 1)) as crowd:
        crowd.streams[0].ids = ["0"]
        crowd.connect(crowd.streams)
        crowd.read_until(lambda stream: stream.ids[-1] == ids[-1])
        assert tuple(crowd.streams[0].ids[1:]) == ids
