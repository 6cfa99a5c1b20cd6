"""Event streams that take all open files: changes end, and new clients are served afterwards."""

import json
import resource
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.support.http_client import wait_until
from tests.support.processes import Gunicorn

VMS = "/api/v1/vms"
NEW_VM = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"}
STREAMS = 100
FREE_FILES = 30
REFUSAL = "no connection can be accepted at present"
EVENTS_REQUEST = b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_event_streams_without_open_files_lose_no_change(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn(
        VMAPI_CALLER_STREAMS=str(STREAMS + 1),
        VMAPI_MEMORY_FAULTS="slow=1:2",
        VMAPI_RATE_ADDRESS="off",
    )
    server.start().wait_for("/readyz")
    (worker,) = server.child_pids()
    with ExitStack() as stack:
        client = server.call.connect()
        stack.callback(client.close)
        headers = {"Content-Type": "application/json", "Prefer": "wait=30"}
        client.request("POST", VMS, json.dumps(NEW_VM), headers)
        # the worker has received the change
        server.call("GET", "/livez")
        limit = len(list(Path(f"/proc/{worker}/fd").iterdir())) + FREE_FILES
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (limit, limit))
        for _ in range(STREAMS):
            stream = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            stream.sendall(EVENTS_REQUEST)
        line = server.wait_for_line(level="warning", message=REFUSAL)
        assert line["reason"] == "Too many open files"
        assert client.getresponse().status == 201
    wait_until("a served client", lambda: server.call("GET", "/livez").status == 200)
    assert [vm["name"] for vm in server.call.get_json(VMS)["items"]] == ["web-1"]
    assert server.child_pids() == [worker]
    assert server.read_log().count(REFUSAL) == 1
