"""Measure a bulk action on many VMs: `… -m bench.bulk [VMS] [RUNS]`.

On the memory cloud, with config/gunicorn.conf.py and SQLite. Each run stops all VMs by one filter
and deletes them by one filter, after the operations of the VMs before. The time is that of the
client: from the request to the end of the response, and to the end of the bulk operation.
"""

import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.machine import describe_machine
from bench.startup import serves

ROOT = Path(__file__).parents[1]
BASE = "/api/v1"
CREATE_BODY = {"flavor": "m1.tiny", "image": "cirros", "start": True}
SETTINGS = {
    "VMAPI_MEMORY_LIMITS": "vms=100000,vcpus=100000,ram_mb=100000000",
    **dict.fromkeys(("VMAPI_RATE_CHANGES", "VMAPI_RATE_READS", "VMAPI_RATE_ADDRESS"), "off"),
}


class Client:
    """A client with one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send a request and return the JSON of its response."""
        content = None if body is None else json.dumps(body)
        headers |= {} if body is None else {"Content-Type": "application/json"}
        self._connection.request(method, BASE + path, content, headers)
        response = self._connection.getresponse()
        text = response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {text[:500]!r}")
        return json.loads(text)

    def wait(self, operation_id: str) -> Any:
        """Wait until a bulk operation is finished and return it."""
        while True:
            operation = self.call("GET", f"/operations/{operation_id}", Prefer="wait=60")
            if operation["finished_at"]:
                return operation


def main(count: int, runs: int) -> None:
    """Print the median, the minimum and the maximum of the runs, by action."""
    print(describe_machine(), f"{count} VMs, {runs} runs, load {os.getloadavg()[0]:.1f}", sep="\n")
    seconds = [run_once(count) for _ in range(runs)]
    for name in seconds[0]:
        values = [run[name] for run in seconds]
        middle = statistics.median(values)
        print(f"{name:<15} {middle:6.2f} s ({min(values):.2f} to {max(values):.2f})")


def run_once(count: int) -> dict[str, float]:
    """Start a server, create the VMs, and stop and delete them by one request each."""
    seconds = {}
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = (sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.conf.py", "wsgi:app")
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {
            "VMAPI_BACKEND": "memory",
            "VMAPI_BIND": f"127.0.0.1:{port}",
            "VMAPI_DATABASE_URL": f"sqlite:///{folder}/vmapi.sqlite3",
            **SETTINGS,
        }
        server = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
        try:
            while not serves(port):
                time.sleep(0.01)
            client = Client(port)
            for number in range(count):
                client.call("POST", "/vms", {**CREATE_BODY, "name": f"vm-{number}"})
            for action in ("stop", "delete"):
                body = {"action": action, "filter": {"name": "vm-*"}}
                start = time.perf_counter()
                response = client.call("POST", "/vms/actions", body)
                seconds[f"{action} response"] = time.perf_counter() - start
                assert len(response["items"]) == count
                counts = client.wait(response["operation_id"])["bulk"]["counts"]
                seconds[f"{action} finished"] = time.perf_counter() - start
                assert counts["succeeded"] == count, counts
            return seconds
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    main(*map(int, [*sys.argv[1:], "1000", "3"][:2]))
