"""Measure the lag of the inventory behind a large, busy cloud: `.venv/bin/python -m bench.sync`.

A worker process syncs with a simulated Nova. It has the response times of a real one, and its
servers change all the time. The output is the lag of the changes in the inventory, and the CPU and
memory of the worker.
"""

import argparse
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.machine import describe_machine
from bench.standin import fake_openstack

SAMPLE_INTERVAL = 0.05
"""Seconds between two queries of the database."""
RECENT_US = 30_000_000
TICKS = os.sysconf("SC_CLK_TCK")


def main(options: argparse.Namespace) -> None:
    """Print the lag of the changes, and the cost."""
    print(describe_machine(), f"load {os.getloadavg()[0]:.1f}", sep=", ")
    churn = options.servers * options.percent / 100
    arguments = ("--servers", str(options.servers), "--churn", str(churn))
    with fake_openstack(*arguments) as url, tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = f"{folder}/vmapi.sqlite3"
        with worker(url, path, options.log) as pid:
            wait_for_all(path, options.servers)
            # the changes during the first full sync count as warm-up
            time.sleep(options.warm)
            started_at, memory, used = time.monotonic(), rss(pid), cpu(pid)
            late = lags(path, options.seconds)
            share = (cpu(pid) - used) / (time.monotonic() - started_at)
            print(
                f"{options.servers} servers, {churn:.0f} changes a second for {options.seconds} s: "
                f"{len(late)} seen, p50 {percentile(late, 50):.2f} s, "
                f"p99 {percentile(late, 99):.2f} s late; CPU {share:.0%} of a core; "
                f"{memory:.0f} MB before, {rss(pid):.0f} MB after"
            )


@contextmanager
def worker(url: str, path: str, log: str) -> Iterator[int]:
    """Run a worker on the cloud of a URL; yield its process id."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith("OS_")}
    environ |= {
        "VMAPI_BACKEND": "openstack",
        "VMAPI_ENGINE": "worker",
        "VMAPI_DATABASE_URL": f"sqlite:///{path}",
        "OPENSTACK_AUTH_URL": f"{url}/identity/v3",
        "OPENSTACK_USERNAME": "bench",
        "OPENSTACK_PASSWORD": "bench",
        "OPENSTACK_PROJECT": "bench",
    }
    command = [str(Path(sys.executable).parent / "flask"), "--app", "wsgi", "worker"]
    with (
        Path(log).open("w") as out,
        subprocess.Popen(command, env=environ, stdout=out, stderr=out) as process,
    ):
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGTERM)


def wait_for_all(path: str, number: int) -> None:
    """Wait for the first full sync."""
    while True:
        time.sleep(1)
        try:
            with open_database(path) as database:
                (synced,) = database.execute("SELECT count(*) FROM sync_state").fetchone()
                (count,) = database.execute("SELECT count(*) FROM vms").fetchone()
        except sqlite3.OperationalError:
            continue
        if synced and count >= number:
            return


def lags(path: str, seconds: float) -> list[float]:
    """Return the lag in seconds of each change that arrives during the time."""
    known: set[str] = set()
    late: list[float] = []
    query = "SELECT name FROM vms WHERE updated_at > ?"
    started_at = time.time()
    with open_database(path) as database:
        while (now := time.time()) < started_at + seconds:
            names = {name for (name,) in database.execute(query, (now * 1e6 - RECENT_US,))}
            now = time.time()
            for name in names - known:
                at = float(name.removeprefix("vm-"))
                if at >= started_at:
                    late.append(now - at)
            known = names
            time.sleep(SAMPLE_INTERVAL)
    return late


@contextmanager
def open_database(path: str) -> Iterator[sqlite3.Connection]:
    """Open the database read-only."""
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        yield database
    finally:
        database.close()


def percentile(values: list[float], percent: int) -> float:
    """Return a percentile of the values."""
    return statistics.quantiles(values, n=100)[percent - 1]


def cpu(pid: int) -> float:
    """Return the CPU time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def rss(pid: int) -> float:
    """Return the memory of a process in MB."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="bench.sync")
    parser.add_argument("--servers", type=int, default=10_000)
    parser.add_argument("--percent", type=float, default=1.0, help="that change in a second")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--warm", type=float, default=20)
    parser.add_argument("--log", default=os.devnull)
    main(parser.parse_args())
