"""How soon gunicorn serves, and what a worker weighs: `.venv/bin/python -m bench.startup [RUNS]`.

On the memory cloud, with config/gunicorn.conf.py. Seconds are from the exec of gunicorn to the
first GET /livez that is answered, CPU is that of master and worker until then. Memory is the
worker's after that: RSS, and PSS, in which pages shared with the master count half.
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
    """What one start took."""

    ready: float
    cpu: float
    rss: float
    pss: float


def main(runs: int) -> None:
    """Print the median, least and most of some starts; the first, from cold files, is left out."""
    start()
    measured = [start() for _ in range(runs)]
    load = os.getloadavg()[0]
    print(describe_machine(), f"{runs} starts, load {load:.1f}", sep="\n")
    for name, unit in (("ready", "s"), ("cpu", "s"), ("rss", "MB"), ("pss", "MB")):
        found = sorted(getattr(run, name) for run in measured)
        middle = statistics.median(found)
        print(f"{name:<6} {middle:6.2f} {unit:<2} ({found[0]:.2f} to {found[-1]:.2f})")


def start() -> Run:
    """Start a server, look at it, and stop it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = (sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.conf.py", "wsgi:app")
    env = os.environ | {"VMAPI_BACKEND": "memory", "VMAPI_BIND": f"127.0.0.1:{port}"}
    begun = time.perf_counter()
    server = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    try:
        while not serves(port):
            time.sleep(0.002)
        ready = time.perf_counter() - begun
        (worker,) = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        rss, pss = memory(worker)
        return Run(ready, cpu(str(server.pid)) + cpu(worker), rss, pss)
    finally:
        server.terminate()
        server.wait()


def serves(port: int) -> bool:
    """Tell whether GET /livez is answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    except ConnectionError:
        return False
    finally:
        connection.close()


def cpu(pid: str) -> float:
    """Return the seconds of CPU that a process has used."""
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
