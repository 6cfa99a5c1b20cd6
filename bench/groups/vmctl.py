"""Aim 9: the time that vmctl takes to start, compared with Python that imports click alone."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

from bench.aims import Limit, Row
from bench.environments import ensure_client_environment
from bench.options import RunOptions
from bench.processes import ROOT

CLIENT = ROOT / "clients" / "python"
VMCTL = "from vmapi_client.cli.entry import main; main()"
FLOOR = "Python and `import click`"
COMMANDS: Mapping[str, Sequence[str]] = {
    FLOOR: ("import click",),
    "--version": (VMCTL, "--version"),
    "--help": (VMCTL, "--help"),
    "list --help": (VMCTL, "list", "--help"),
}
MAX_START_SECONDS = 0.15


def measure_vmctl(options: RunOptions) -> Iterator[Row]:
    """Start each command several times, in turns with the others."""
    python = sys.executable
    if options.scale.has_runtime_environment:
        python = str(ensure_client_environment() / "python")
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    # the first round reads files from the disk
    for _ in range(options.scale.starts + 1):
        for name, arguments in COMMANDS.items():
            seconds[name].append(run(python, arguments))
    floor = statistics.median(seconds.pop(FLOOR)[1:])
    for name, values in seconds.items():
        median = statistics.median(values[1:])
        detail = f"{len(values) - 1} starts; {FLOOR}: {floor * 1000:.0f} ms"
        limit = Limit.at_most(MAX_START_SECONDS)
        yield Row("9", f"vmctl {name}: until its end", median, "s", limit, detail)


def run(python: str, arguments: Sequence[str]) -> float:
    """Run Python code with arguments, and return the seconds that it took."""
    environment = {**os.environ, "PYTHONPATH": str(CLIENT)}
    started_at = time.perf_counter()
    command = (python, "-c", *arguments)
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - started_at
