"""A read through vmapi against the same read straight from Nova: `.venv/bin/python -m bench.reads`.

Nova is the cloud that OS_CLOUD names, as it is; without one, a simulated one with `--servers` that
takes as long as a Nova was measured to. vmapi is gunicorn as it is served. The two take turns, each
on a connection that is kept alive, Nova with one read and vmapi with ten; what is printed are
medians.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import requests

from bench.clock import measure
from bench.driver import RawNova
from bench.machine import describe_machine
from bench.standin import fake_openstack
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.settings.settings import Settings

TURNS = {1: 40, 100: 10, 1000: 5}
"""How often each is read of Nova, by how many VMs it shows."""

READS = 10
"""How often vmapi is asked in a turn: it is as quick as who asks again at once finds it."""


def main(servers: int) -> None:
    """Print what one VM and what lists take."""
    with ExitStack() as stack:
        if not os.environ.get("OS_CLOUD"):
            os.environ |= cloud_environment(
                stack.enter_context(fake_openstack("--servers", str(servers)))
            )
        backend = OpenStackBackend.from_settings(Settings.load())
        stack.callback(backend.close)
        url = stack.enter_context(gunicorn())
        ids = [vm.id for vm in backend.list_vms()]
        wait_for(url, len(ids))
        nova, ours = RawNova(backend), VmapiClient(url)
        print(describe_machine(), f"{len(ids)} servers, load {os.getloadavg()[0]:.1f}", sep=", ")
        compare("one VM", 1, lambda: nova.get(f"/servers/{ids[0]}"), lambda: ours.vm(ids[0]))
        for size in (100, 1000):
            if len(ids) >= size:
                path = f"/servers/detail?limit={size}"
                compare(f"a list of {size}", size, bind(nova.get, path), bind(ours.list, size))


def bind(call: Callable[[Any], object], argument: object) -> Callable[[], object]:
    """Return the call with its argument."""
    return lambda: call(argument)


class VmapiClient:
    """vmapi over HTTP, by a client that adds little of its own."""

    def __init__(self, url: str) -> None:
        self._http = HTTPConnection(url.removeprefix("http://"), timeout=60)

    def vm(self, vm_id: str) -> bytes:
        """Read one VM."""
        return self._get(f"/api/v1/vms/{vm_id}")

    def list(self, size: int) -> bytes:
        """Read a list."""
        return self._get(f"/api/v1/vms?page_size={size}")

    def _get(self, path: str) -> bytes:
        self._http.request("GET", path)
        answer = self._http.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(content)
        return content


def compare(what: str, size: int, peer: Callable[[], object], ours: Callable[[], object]) -> None:
    """Print the medians of both, in milliseconds, and how they compare."""
    ours()
    theirs: list[float] = []
    times: list[float] = []
    for _ in range(TURNS[size]):
        theirs.append(measure(peer).wall)
        times += [measure(ours).wall for _ in range(READS)]
    nova, vmapi = statistics.median(theirs), statistics.median(times)
    print(f"{what:<15} Nova {nova:8.1f} ms, vmapi {vmapi:6.2f} ms: {nova / vmapi:.0f} times faster")


def cloud_environment(url: str) -> dict[str, str]:
    """Return the settings of a cloud that lets anybody in."""
    return {
        "OPENSTACK_AUTH_URL": f"{url}/identity/v3",
        "OPENSTACK_USERNAME": "bench",
        "OPENSTACK_PASSWORD": "bench",
        "OPENSTACK_PROJECT": "bench",
    }


@contextmanager
def gunicorn() -> Iterator[str]:
    """Serve while the block lasts, and give the URL."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = (sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.conf.py", "wsgi:app")
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        environ = os.environ | {
            "VMAPI_BACKEND": "openstack",
            "VMAPI_BIND": f"127.0.0.1:{port}",
            "VMAPI_DATABASE_URL": f"sqlite:///{folder}/vmapi.sqlite3",
            "VMAPI_AUTH": "none",
            "VMAPI_RATE_READS": "off",
            "VMAPI_RATE_ADDRESS": "off",
        }
        with (
            Path(os.devnull).open("w") as log,
            subprocess.Popen(command, env=environ, stdout=log, stderr=log) as process,
        ):
            try:
                yield f"http://127.0.0.1:{port}"
            finally:
                process.terminate()


def wait_for(url: str, number: int) -> None:
    """Wait until vmapi serves and knows so many VMs."""
    while True:
        time.sleep(0.5)
        try:
            answer = requests.get(f"{url}/api/v1/vms?page_size=1", timeout=60)
        except requests.ConnectionError:
            continue
        if answer.ok and json.loads(answer.content)["total"] >= number:
            return


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="bench.reads")
    parser.add_argument("--servers", type=int, default=1000)
    main(parser.parse_args().servers)
