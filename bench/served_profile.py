"""Profile the worker of gunicorn while wrk sends reads: server, hooks and app together.

Only the main thread is profiled. It serves the reads that wait for nothing; other requests go to
threads.
"""

import pstats
from contextlib import AbstractContextManager

from bench.client import VMS, JsonClient, connect
from bench.hot_paths import list_reads
from bench.load import Load, send_load
from bench.options import RunOptions
from bench.servers import Server, run_on_memory, run_on_openstack

WORKER_CLASS = "bench.profiled_worker.ProfiledWorker"


def profile_read(
    name: str, options: RunOptions, *, cloud: str, vms: int
) -> tuple[Load, pstats.Stats]:
    """Start a server, send it one kind of read, and return the cost and the profile."""
    profile = options.folder / f"{name}.profile"
    with run_cloud(options, cloud, vms, str(profile)) as server:
        with connect(server.url) as client:
            path, headers = find_read(name, client)
        load = send_load(server, path, options.scale.seconds, headers=headers)
    return load, pstats.Stats(str(profile))


def run_cloud(
    options: RunOptions, cloud: str, vms: int, profile: str
) -> AbstractContextManager[Server]:
    """Run a server that writes its profile when it stops."""
    settings = {"GUNICORN_CMD_ARGS": f"--worker-class {WORKER_CLASS}", "BENCH_PROFILE": profile}
    if cloud == "memory":
        return run_on_memory(options, vms, settings=settings)
    return run_on_openstack(
        options, "--delays", "none", "--varied", vms=vms, syncs=False, settings=settings
    )


def find_read(name: str, client: JsonClient) -> tuple[str, dict[str, str]]:
    """Return the path and the headers of a read."""
    (item,) = client.call("GET", f"{VMS}?page_size=1")["items"]
    _, etag = client.get_status(f"{VMS}/{item['id']}")
    return list_reads(item["id"], etag)[name]
