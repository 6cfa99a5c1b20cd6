"""Start vmapi on a simulated OpenStack or on the memory cloud, as an operator starts it."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from types import MappingProxyType

from bench.client import connect
from bench.databases import new_database, run_command
from bench.options import SQLITE, RunOptions
from bench.processes import ROOT, build_environment, list_children, run_process
from bench.standin import fake_openstack

START_SECONDS = 120.0
START_POLL_SECONDS = 0.005
SYNC_POLL_SECONDS = 1.0
GUNICORN = ("-m", "gunicorn", "-c", str(ROOT / "config/gunicorn.conf.py"))
UNLIMITED = dict.fromkeys(
    ("VMAPI_RATE_READS", "VMAPI_RATE_CHANGES", "VMAPI_RATE_ADDRESS"), "1000000/second"
)
"""Rate limits that count requests and refuse none."""
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})
MEMORY_LIMITS = "vms=200000,vcpus=800000,ram_mb=900000000"


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    pid: int
    """The process id, for gunicorn that of the master."""
    database_url: str = ""

    @property
    def worker_pids(self) -> list[int]:
        """The processes that serve requests."""
        return list_children(self.pid)


def free_port() -> int:
    """Return a free port on loopback."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def run_server(
    options: RunOptions,
    port: int,
    command: tuple[str, ...],
    probe_path: str,
    settings: Mapping[str, str],
) -> Iterator[Server]:
    """Run a server during the block, from its first response on. Raises RuntimeError."""
    log = options.folder / f"{port}.log"
    environment = build_environment(settings)
    with (
        log.open("wb") as output,
        run_process(
            *command, cwd=options.folder, env=environment, stdout=output, stderr=output
        ) as process,
    ):
        if not wait_until_served(process, port, probe_path):
            raise RuntimeError(f"{command} does not serve {probe_path}:\n{log.read_text()[-2000:]}")
        yield Server(f"http://127.0.0.1:{port}", process.pid)


def wait_until_served(process: subprocess.Popen[bytes], port: int, path: str) -> bool:
    """Wait for the first response with the status 200; return whether it arrives."""
    deadline = time.monotonic() + START_SECONDS
    while not serves(port, path):
        if process.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(START_POLL_SECONDS)
    return True


def serves(port: int, path: str) -> bool:
    """Return whether a GET has the status 200."""
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


@contextmanager
def run_vmapi(
    options: RunOptions,
    settings: Mapping[str, str],
    app: str = "wsgi:app",
    database: str | None = SQLITE,
) -> Iterator[Server]:
    """Run one worker of vmapi with an empty database during the block.

    Without a database vmapi chooses one itself, as for the memory cloud.
    """
    port = free_port()
    with new_database(options, database) if database else nullcontext("") as url:
        settings = {
            "VMAPI_BIND": f"127.0.0.1:{port}",
            "VMAPI_WORKERS": "1",
            "VMAPI_AUTH": "none",
            "VMAPI_DATABASE_URL": url,
            **UNLIMITED,
            **settings,
        }
        command = (options.python, *GUNICORN, app)
        with run_server(options, port, command, "/livez", settings) as server:
            yield Server(server.url, server.pid, url)


@contextmanager
def run_on_memory(
    options: RunOptions,
    vms: int,
    database: str | None = None,
    settings: Mapping[str, str] = NO_SETTINGS,
) -> Iterator[Server]:
    """Run vmapi on a memory cloud that has VMs."""
    settings = {
        "VMAPI_BACKEND": "memory",
        "VMAPI_MEMORY_LIMITS": MEMORY_LIMITS,
        "BENCH_VMS": str(vms),
        **settings,
    }
    with run_vmapi(options, settings, "bench.memory_cloud:app", database) as server:
        with connect(server.url) as client:
            client.wait_for_vms(vms)
        yield server


@contextmanager
def run_on_openstack(
    options: RunOptions,
    *nova_options: str,
    vms: int = 0,
    database: str = SQLITE,
    syncs: bool = True,
    settings: Mapping[str, str] = NO_SETTINGS,
) -> Iterator[Server]:
    """Run vmapi on a simulated OpenStack, from the first full sync on.

    With `syncs` the server is also the process that syncs with the cloud. Without it another
    process does that, and no CPU time of the sync is in that of the requests.
    """
    numbers = ("--servers", str(vms)) if vms else ()
    with ExitStack() as stack:
        nova_url = stack.enter_context(fake_openstack(*numbers, *nova_options))
        settings = {
            **build_cloud_settings(nova_url),
            "VMAPI_ENGINE": "thread" if syncs else "worker",
            **settings,
        }
        server = stack.enter_context(run_vmapi(options, settings, database=database))
        if not syncs:
            settings |= {"VMAPI_DATABASE_URL": server.database_url}
            run_command("db", "upgrade", **settings)
            stack.enter_context(run_worker(options, settings))
            wait_for_sync(settings)
        with connect(server.url) as client:
            client.wait_for_vms(vms)
        yield server


def wait_for_sync(settings: Mapping[str, str]) -> None:
    """Wait until another process has synced: a read before would sync in the server itself."""
    deadline = time.monotonic() + START_SECONDS
    while json.loads(run_command("inventory", "show", "--json", **settings))["age_seconds"] is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"no sync within {START_SECONDS:.0f} s")
        time.sleep(SYNC_POLL_SECONDS)


@contextmanager
def run_worker(options: RunOptions, settings: Mapping[str, str]) -> Iterator[int]:
    """Run the engine in a separate process; yield its process id."""
    command = (sys.executable, "-m", "flask", "--app", "wsgi", "worker")
    environment = build_environment(settings, VMAPI_ENGINE="worker")
    with (
        (options.folder / "worker.log").open("ab") as output,
        run_process(
            *command, cwd=options.folder, env=environment, stdout=output, stderr=output
        ) as process,
    ):
        yield process.pid


def build_cloud_settings(url: str) -> dict[str, str]:
    """Return the settings for a simulated OpenStack, which accepts any password."""
    return {
        "VMAPI_BACKEND": "openstack",
        "OPENSTACK_AUTH_URL": f"{url}/identity/v3",
        "OPENSTACK_USERNAME": "bench",
        "OPENSTACK_PASSWORD": "bench",
        "OPENSTACK_PROJECT": "bench",
    }


def create_token(server: Server) -> str:
    """Create an API token in the database of a server, and return it."""
    arguments = ("--subject", "bench", "--role", "viewer", "--project", "default")
    settings = {"VMAPI_DATABASE_URL": server.database_url}
    return run_command("token", "create", *arguments, **settings).split()[-1]
