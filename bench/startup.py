"""Measure the start of gunicorn and the memory of a worker: `… -m bench.startup [RUNS]`.

On the memory cloud, with config/gunicorn.conf.py. The start takes from the exec of gunicorn to the
first response of GET /livez; CPU is that of master and worker until then. Memory is that of the
worker afterwards: RSS, and PSS, which counts half of the pages shared with the master.
"""

import http.client
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bench.machine import describe_machine

ROOT = Path(__file__).parents[1]
TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass
class Run:
    """The results of one start: seconds and megabytes."""

    ready: float
    cpu: float
    rss: float
    pss: float


def main(runs: int) -> None:
    """Print median, minimum and maximum of several starts, without the first (cold cache)."""
    start()
    measured = [start() for _ in range(runs)]
    load = os.getloadavg()[0]
    print(describe_machine(), f"{runs} starts, load {load:.1f}", sep="\n")
    for name, unit in (("ready", "s"), ("cpu", "s"), ("rss", "MB"), ("pss", "MB")):
        values = sorted(getattr(run, name) for run in measured)
        middle = statistics.median(values)
        print(f"{name:<6} {middle:6.2f} {unit:<2} ({values[0]:.2f} to {values[-1]:.2f})")


def start() -> Run:
    """Start a server, measure it, and stop it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = (sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.conf.py", "wsgi:app")
    env = os.environ | {"VMAPI_BACKEND": "memory", "VMAPI_BIND": f"127.0.0.1:{port}"}
    started_at = time.perf_counter()
    server = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    try:
        while not serves(port):
            time.sleep(0.002)
        ready = time.perf_counter() - started_at
        (worker,) = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        rss, pss = memory(worker)
        return Run(ready, cpu(str(server.pid)) + cpu(worker), rss, pss)
    finally:
        server.terminate()
        server.wait()


def serves(port: int) -> bool:
    """Return True if GET /livez gets a response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    except ConnectionError:
        return False
    finally:
        connection.close()


def cpu(pid: str) -> float:
    """Return the CPU time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * TICK


def memory(pid: str) -> tuple[float, float]:
    """Return the RSS and PSS of a process in MB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    rss, pss = (re.search(rf"^{name}: +(\d+) kB", text, re.M) for name in ("Rss", "Pss"))
    assert rss
    assert pss
    return int(rss[1]) / 1024, int(pss[1]) / 1024


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
