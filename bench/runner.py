"""Run groups of rows one after the other, and report each result at once."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from bench.aims import Result, Row, render_value
from bench.groups.bulk import measure_bulk
from bench.groups.changes import measure_changes
from bench.groups.freshness import measure_freshness
from bench.groups.growth import measure_growth
from bench.groups.memory_changes import measure_memory_changes
from bench.groups.reads import measure_reads
from bench.groups.startup import measure_startup
from bench.groups.streams import measure_streams
from bench.groups.vmctl import measure_vmctl
from bench.groups.workers import measure_workers
from bench.options import RunOptions

Measure = Callable[[RunOptions], Iterator[Result]]
GROUPS: Mapping[str, Measure] = {
    "reads": measure_reads,
    "growth": measure_growth,
    "memory-changes": measure_memory_changes,
    "changes": measure_changes,
    "bulk": measure_bulk,
    "workers": measure_workers,
    "streams": measure_streams,
    "freshness": measure_freshness,
    "startup": measure_startup,
    "vmctl": measure_vmctl,
}
"""The groups in the order of the aims."""


def run_groups(names: Sequence[str], options: RunOptions) -> Iterator[Result]:
    """Measure groups, and print each row. A group that fails has a row without a value."""
    for name in names:
        started_at = time.monotonic()
        print(f"--- {name}", flush=True)
        try:
            for result in GROUPS[name](options):
                print_result(result)
                yield result
        except Exception as error:
            print(f"{type(error).__name__}: {error}", flush=True)
            # one line, for the table
            message = " ".join(f"{type(error).__name__}: {error}".split())
            yield Row("", name, float("nan"), "", detail=f"failed: {message[:300]}")
        print(f"    {time.monotonic() - started_at:.0f} s", flush=True)


def print_result(result: Result) -> None:
    """Print a row, or nothing for a table."""
    if isinstance(result, Row):
        value = render_value(result.value, result.unit)
        print(f"{result.subject}: {value} {result.outcome}  ({result.detail})", flush=True)
