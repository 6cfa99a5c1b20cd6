"""Send requests with wrk, and measure the cost of each request."""

import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path

from bench.processes import read_tree_cpu_seconds, run_process
from bench.servers import Server

CONNECTIONS = 8
MIN_REQUESTS = 4
"""The fewest responses of each connection."""
EXTENSION_FACTOR = 4
MAX_SECONDS = 60
WRK_TIMEOUT = "30s"
"""The time after which wrk counts a response as failed; 2 s are few on a machine under load."""

SIGNAL_SECONDS = 0.2
"""How long wrk may take to handle a signal."""
LATENCY_UNITS_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


@dataclass(frozen=True)
class Load:
    """The cost of the requests of one load."""

    cpu_us: float
    """CPU time of the server's processes for a request, in microseconds."""
    rate: float
    """Requests in a second."""
    median_ms: float
    p99_ms: float

    def __str__(self) -> str:
        return f"{self.cpu_us:,.0f} µs, {self.rate:,.0f}/s"


def require_wrk() -> None:
    """Exit if the load generator is missing."""
    if shutil.which("wrk") is None:
        sys.exit("bench: wrk is missing (Debian: apt-get install wrk)")


def send_load(
    server: Server,
    path: str,
    seconds: float,
    *,
    headers: Mapping[str, str] | None = None,
    connections: int = CONNECTIONS,
    script: Path | None = None,
) -> Load:
    """Request one path on keep-alive connections.

    A load with too few responses is sent again, for longer: requests that the end interrupts would
    distort it. Raises RuntimeError when a request fails.
    """
    command = build_command(server.url + path, connections, headers or {}, script)
    while True:
        cpu = read_tree_cpu_seconds(server.pid)
        output = run_wrk(command, seconds)
        count = count_requests(output)
        if count >= MIN_REQUESTS * connections or seconds > MAX_SECONDS:
            return parse_output(output, (read_tree_cpu_seconds(server.pid) - cpu) / max(count, 1))
        seconds *= EXTENSION_FACTOR


def build_command(
    url: str, connections: int, headers: Mapping[str, str], script: Path | None
) -> list[str]:
    """Return the command line of wrk with one thread."""
    duration = f"-d{EXTENSION_FACTOR * MAX_SECONDS}s"
    command = ["wrk", "-t1", f"-c{connections}", duration, "--timeout", WRK_TIMEOUT, "--latency"]
    for name, text in headers.items():
        command += ["-H", f"{name}: {text}"]
    command += ["-s", str(script)] if script else []
    return [*command, url]


def run_wrk(command: Sequence[str], seconds: float) -> str:
    """Run wrk for a time, and return its output. Raises RuntimeError when wrk fails."""
    with run_process(*command, stdout=subprocess.PIPE) as wrk:
        time.sleep(seconds)
        while True:
            # wrk takes whole seconds only, and prints its results when it is interrupted;
            # it ignores the signal while it starts
            wrk.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                output, _ = wrk.communicate(timeout=SIGNAL_SECONDS)
                break
    if wrk.returncode not in (0, -signal.SIGINT):
        raise RuntimeError(f"{' '.join(command)} failed: {wrk.returncode}")
    return str(output, "utf-8")


def count_requests(output: str) -> int:
    """Return the number of responses. Raises RuntimeError when a request failed."""
    if not output:
        # the signal has ended wrk before it could handle the signal
        return 0
    count = re.search(r"(\d+) requests in", output)
    if count is None or re.search(r"Socket errors|Non-2xx", output):
        raise RuntimeError(f"requests failed: {output}")
    return int(count[1])


def parse_output(output: str, cpu_seconds: float) -> Load:
    """Return the cost of a request from the output of wrk, and from its CPU time."""
    rate = re.search(r"Requests/sec: +([\d.]+)", output)
    assert rate, output
    return Load(
        cpu_us=cpu_seconds * 1e6,
        rate=float(rate[1]),
        median_ms=find_latency(50, output),
        p99_ms=find_latency(99, output),
    )


def find_latency(percent: int, output: str) -> float:
    """Return a percentile of the latency in milliseconds."""
    match = re.search(rf" {percent}% +([\d.]+)(us|ms|s|m)", output)
    assert match, output
    return float(match[1]) * LATENCY_UNITS_MS[match[2]]


def measure_in_turns(sends: Mapping[str, Callable[[], Load]], rounds: int) -> dict[str, Load]:
    """Measure all loads in turns, so that a slow phase of the machine affects all; use medians."""
    turns = [{name: send() for name, send in sends.items()} for _ in range(rounds)]
    return {name: compute_medians([turn[name] for turn in turns]) for name in sends}


def compute_medians(loads: list[Load]) -> Load:
    """Return the median of each member."""
    return Load(*map(statistics.median, zip(*map(astuple, loads), strict=True)))
