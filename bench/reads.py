"""Compare a read through vmapi with the same read from Nova: `.venv/bin/python -m bench.reads`.

Nova is the cloud of OS_CLOUD, unchanged. Without OS_CLOUD, a simulated one has `--servers` and the
response times of a real Nova. vmapi runs in gunicorn with its configuration. The two take turns on
keep-alive connections: one read from Nova, ten through vmapi. The output is medians.
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
"""The number of turns, by the number of VMs in a response."""

READS = 10
"""The number of reads through vmapi in a turn."""


def main(servers: int) -> None:
    """Print the durations of reading one VM and lists."""
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
        nova, vmapi = RawNova(backend), VmapiClient(url)
        print(describe_machine(), f"{len(ids)} servers, load {os.getloadavg()[0]:.1f}", sep=", ")
        compare("one VM", 1, lambda: nova.get(f"/servers/{ids[0]}"), lambda: vmapi.get_vm(ids[0]))
        for size in (100, 1000):
            if len(ids) >= size:
                path = f"/servers/detail?limit={size}"
                compare(f"a list of {size}", size, bind(nova.get, path), bind(vmapi.list_vms, size))


def bind(call: Callable[[Any], object], argument: object) -> Callable[[], object]:
    """Return a function that makes the call."""
    return lambda: call(argument)


class VmapiClient:
    """A minimal HTTP client of vmapi."""

    def __init__(self, url: str) -> None:
        self._http = HTTPConnection(url.removeprefix("http://"), timeout=60)

    def get_vm(self, vm_id: str) -> bytes:
        """Read one VM."""
        return self._get(f"/api/v1/vms/{vm_id}")

    def list_vms(self, size: int) -> bytes:
        """Read a list."""
        return self._get(f"/api/v1/vms?page_size={size}")

    def _get(self, path: str) -> bytes:
        self._http.request("GET", path)
        response = self._http.getresponse()
        content = response.read()
        if response.status != 200:
            raise RuntimeError(content)
        return content


def compare(
    label: str, size: int, read_nova: Callable[[], object], read_vmapi: Callable[[], object]
) -> None:
    """Print the medians of both in milliseconds, and their ratio."""
    read_vmapi()
    nova_times: list[float] = []
    vmapi_times: list[float] = []
    for _ in range(TURNS[size]):
        nova_times.append(measure(read_nova).wall)
        vmapi_times += [measure(read_vmapi).wall for _ in range(READS)]
    nova, vmapi = statistics.median(nova_times), statistics.median(vmapi_times)
    print(
        f"{label:<15} Nova {nova:8.1f} ms, vmapi {vmapi:6.2f} ms: {nova / vmapi:.0f} times faster"
    )


def cloud_environment(url: str) -> dict[str, str]:
    """Return the settings for the simulated cloud, which accepts any password."""
    return {
        "OPENSTACK_AUTH_URL": f"{url}/identity/v3",
        "OPENSTACK_USERNAME": "bench",
        "OPENSTACK_PASSWORD": "bench",
        "OPENSTACK_PROJECT": "bench",
    }


@contextmanager
def gunicorn() -> Iterator[str]:
    """Run gunicorn during the block; yield the URL."""
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
    """Wait until vmapi serves and lists this number of VMs."""
    while True:
        time.sleep(0.5)
        try:
            response = requests.get(f"{url}/api/v1/vms?page_size=1", timeout=60)
        except requests.ConnectionError:
            continue
        if response.ok and json.loads(response.content)["total"] >= number:
            return


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="bench.reads")
    parser.add_argument("--servers", type=int, default=1000)
    main(parser.parse_args().servers)
