"""Measure the aims for speed: `python -m bench [GROUP …]`, or `make bench` for all of them."""

import argparse
import dataclasses
import math
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.aims import Row
from bench.load import require_wrk
from bench.machine import QUIET_LOAD, describe_run, read_load
from bench.options import RunOptions
from bench.processes import ROOT, remove_settings
from bench.report import write_report
from bench.runner import GROUPS, run_groups
from bench.scale import COMPLETE, SHORT, Scale


def main(arguments: argparse.Namespace) -> None:
    """Measure, print and write the results."""
    require_wrk()
    remove_settings()
    # so that the servers are stopped
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: terminated"))
    load = read_load()
    print(f"load average {load:.2f}")
    if load > QUIET_LOAD:
        print(f"WARNING: the machine is busy (above {QUIET_LOAD}), the results are not reliable")
    with tempfile.TemporaryDirectory(prefix="vmapi-bench-") as folder:
        options = RunOptions(build_scale(arguments), Path(folder), arguments.postgresql)
        facts = describe_run(options)
        facts["form"] = "short: the values mean nothing" if arguments.short else "complete"
        facts["command"] = describe_command(os.environ, sys.argv[1:])
        results = list(run_groups(arguments.groups or list(GROUPS), options))
    write_report(arguments.output, facts, results)
    print(f"written to {arguments.output}")
    if any(isinstance(result, Row) and not math.isfinite(result.value) for result in results):
        sys.exit("bench: some rows have no value")


def describe_command(environ: Mapping[str, str], arguments: Sequence[str]) -> str:
    """Return the command that measures this again."""
    how = f' HOW="{" ".join(arguments)}"' if arguments else ""
    if "TEST_POSTGRESQL_URL" not in environ:
        return f"`make bench{how}`"
    options = environ.get("TEST_POSTGRESQL_OPTIONS")
    setting = "" if options is None else f"TEST_POSTGRESQL_OPTIONS={shlex.quote(options)} "
    return f"`{setting}tests/with-postgresql make bench{how}`"


def parse_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--rounds", type=int, help="turns of each read [default: 3]")
    parser.add_argument("--seconds", type=float, help="duration of a load [default: 1.5]")
    parser.add_argument(
        "--postgresql",
        metavar="URL",
        default=os.environ.get("TEST_POSTGRESQL_URL"),
        help="a PostgreSQL in which databases can be created [default: TEST_POSTGRESQL_URL]",
    )
    parser.add_argument("--short", action="store_true", help="run every row, without precision")
    parser.add_argument("--output", type=Path, default=ROOT / "bench/RESULTS.md", metavar="FILE")
    options = parser.parse_args()
    if unknown := set(options.groups) - set(GROUPS):
        parser.error(f"unknown group: {', '.join(sorted(unknown))}")
    return options


def build_scale(arguments: argparse.Namespace) -> Scale:
    """Return the size of the run."""
    scale = SHORT if arguments.short else COMPLETE
    changes = {name: getattr(arguments, name) for name in ("rounds", "seconds")}
    return dataclasses.replace(
        scale, **{name: value for name, value in changes.items() if value is not None}
    )


if __name__ == "__main__":
    main(parse_arguments())
