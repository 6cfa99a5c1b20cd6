"""Profile the hot paths of the app: `python -m bench.profile [PATH …]`, or `make profile`.

A request goes from its WSGI environment to the last byte of the response, in this process: gunicorn
is not part of the profile, and log lines go to /dev/null. The time of a request is measured without
the profiler. With `--served`, gunicorn's worker is profiled while wrk sends reads. The profiler
makes functions of Python slower than those of C, so that its shares are estimates.
"""

import argparse
import cProfile
import dataclasses
import pstats
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flask import Flask, Response

from bench.apps import build_app, open_backend
from bench.hot_paths import HOT_PATHS, READS, Send, WsgiRequest, run_hot_path
from bench.load import require_wrk
from bench.machine import describe_machine
from bench.options import RunOptions
from bench.populated_backend import build_backend
from bench.processes import remove_settings
from bench.profile_tables import render_hooks, render_packages
from bench.scale import SHORT
from bench.served_profile import profile_read
from bench.servers import MEMORY_LIMITS
from bench.statements import recording
from vmapi.settings.memory import parse_memory_limits


def main(arguments: argparse.Namespace) -> None:
    """Print the time, the shares and the profile of each hot path."""
    remove_settings()
    # so that the servers are stopped
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: terminated"))
    print(*map(": ".join, describe_machine().items()), sep="\n")
    with tempfile.TemporaryDirectory(prefix="vmapi-bench-") as folder:
        if arguments.served:
            require_wrk()
            profile_server(arguments, RunOptions(arguments.scale, Path(folder)))
        else:
            profile_app(arguments, folder)


def profile_server(arguments: argparse.Namespace, options: RunOptions) -> None:
    """Profile the main thread of a worker for each hot path."""
    for name in arguments.paths or READS:
        load, stats = profile_read(name, options, cloud=arguments.cloud, vms=arguments.vms)
        print(f"\n=== {name}: {load} under the profiler, {arguments.cloud}")
        print_profile(stats, arguments.lines)


def profile_app(arguments: argparse.Namespace, folder: str) -> None:
    """Profile the app in this process for each hot path."""
    with open_app(arguments, folder) as app:
        floor = measure_floor(arguments.requests)
        print(f"bare Flask with a ready response: {floor:,.0f} µs of CPU")
        for name in arguments.paths or HOT_PATHS:
            times = arguments.requests
            cpu_us = measure_path(name, app, times)
            profiler = cProfile.Profile()
            run_hot_path(name, app, times, profiler.runcall)
            ratio = f"{cpu_us / floor:.1f} × bare Flask"
            print(f"\n=== {name}: {cpu_us:,.0f} µs of CPU, {ratio}, {arguments.cloud}")
            print_profile(pstats.Stats(profiler), arguments.lines)
            run_hot_path(name, app, 1, print_statements)


@contextmanager
def open_app(arguments: argparse.Namespace, folder: str) -> Iterator[Flask]:
    """Build an app with VMs on the memory cloud, or on a simulated OpenStack."""
    if arguments.cloud == "memory":
        driver = build_backend(parse_memory_limits(MEMORY_LIMITS), arguments.vms)
        with build_app(driver, arguments.database) as app:
            yield app
        return
    url = arguments.database or f"sqlite:///{folder}/vmapi.sqlite3"
    with (
        open_backend("--active", str(arguments.vms)) as backend,
        build_app(backend, url, backend="openstack") as app,
    ):
        yield app


def measure_floor(times: int) -> float:
    """Return the CPU time of a ready response of Flask, in microseconds."""
    flask = Flask("floor")
    flask.add_url_rule("/", view_func=lambda: Response(b"{}", content_type="application/json"))
    return measure_cpu(WsgiRequest(flask, "/"), times)


def measure_cpu(send: Send, times: int) -> float:
    """Return the median CPU time of a request in microseconds."""
    durations = []
    for _ in range(times):
        used = time.process_time()
        send()
        durations.append(time.process_time() - used)
    return statistics.median(durations) * 1e6


def measure_path(name: str, app: Flask, times: int) -> float:
    """Return the median CPU time of a hot path in microseconds."""
    durations = []

    def run(send: Send) -> None:
        durations.append(measure_cpu(send, 1))

    run_hot_path(name, app, times, run)
    return statistics.median(durations)


def print_profile(stats: pstats.Stats, lines: int) -> None:
    """Print the shares, and the functions by own and by cumulative time."""
    print(render_hooks(stats), render_packages(stats), sep="\n\n")
    for order in ("cumulative", "tottime"):
        stats.sort_stats(order).print_stats(lines)


def print_statements(send: Send) -> None:
    """Send a request, and print its SQL statements."""
    with recording() as recorded:
        send()
    print(recorded.counts, recorded.in_short(), sep="\n")


def parse_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("paths", nargs="*", metavar="PATH", help=f"of {', '.join(HOT_PATHS)}")
    parser.add_argument(
        "--served", action="store_true", help="profile gunicorn's worker under wrk; reads only"
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="duration of a load")
    parser.add_argument("--cloud", choices=("memory", "openstack"), default="memory")
    parser.add_argument("--database", metavar="URL", help="[default: a new SQLite file]")
    parser.add_argument("--vms", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--lines", type=int, default=25, help="functions in each table")
    options = parser.parse_args()
    options.scale = dataclasses.replace(SHORT, seconds=options.seconds)
    if unknown := set(options.paths) - set(READS if options.served else HOT_PATHS):
        parser.error(f"unknown path: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    main(parse_arguments())
