"""Run 50 processes of the API and 20 workers on one PostgreSQL with a million VMs.

`python -m bench.installation` needs a PostgreSQL that accepts 1,300 connections.
"""

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench.client import VMS, connect
from bench.databases import describe_postgresql
from bench.installation.clients import change, create_vm
from bench.installation.copies import COPIES, copy_rows
from bench.installation.phases import (
    Cost,
    measure_changes,
    measure_idle,
    measure_index,
    measure_reads,
)
from bench.installation.postgresql import REPORT_SECONDS
from bench.installation.processes import Installation, run_installation
from bench.installation.report import write_page
from bench.machine import describe_machine
from bench.options import RunOptions
from bench.processes import ROOT, remove_settings
from bench.scale import COMPLETE

SHORT = {"vms": 2_000, "api": 2, "workers": 2, "clients": 2, "seconds": 1.0}


def main(arguments: argparse.Namespace) -> None:
    """Measure, print and write the page."""
    remove_settings()
    # so that the processes are stopped
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench: terminated"))
    with tempfile.TemporaryDirectory(prefix="vmapi-bench-") as folder:
        options = RunOptions(COMPLETE, Path(folder), arguments.postgresql)
        report_seconds = 0.0 if arguments.short else REPORT_SECONDS
        with run_installation(
            options, arguments.api, arguments.workers, report_seconds
        ) as installation:
            fill(installation, arguments.vms)
            costs = list(measure_costs(installation, arguments))
            index = measure_index(installation)
            facts = describe(installation, arguments, costs)
    write_page(arguments.output, facts, costs, index, (arguments.api, arguments.workers))
    print(f"{index}\nwritten to {arguments.output}")


def fill(installation: Installation, vms: int) -> None:
    """Let vmapi write the rows of one VM, and copy them."""
    with connect(installation.url) as client:
        path = f"{VMS}/{create_vm(client)}"
    for table, number in count_rows(vms).items():
        copy_rows(installation.postgresql.engine, table, number)
        print(f"{number:,} rows in {table}", flush=True)
    # the server closes a connection that was idle for so long
    with connect(installation.url) as client:
        change(client, "DELETE", path)


def count_rows(vms: int) -> dict[str, int]:
    """Return the number of rows of each table that is filled."""
    return {table: vms if table == "vms" else vms // 10 for table in COPIES}


def measure_costs(installation: Installation, arguments: argparse.Namespace) -> Iterator[Cost]:
    """Measure and print each phase."""
    clients, seconds = arguments.clients, arguments.seconds
    for cost in (
        measure_idle(installation, seconds),
        measure_changes(installation, clients, seconds),
        measure_reads(installation, clients, seconds),
    ):
        print(cost, flush=True)
        yield cost


def describe(
    installation: Installation, arguments: argparse.Namespace, costs: list[Cost]
) -> dict[str, str]:
    """Return the facts of the run by title."""
    connections = max(cost.activity.max_connections for cost in costs)
    row_bytes = installation.postgresql.read_row_bytes()
    backend_mib = installation.postgresql.read_backend_mib()
    return {
        **describe_machine(),
        "PostgreSQL": describe_postgresql(arguments.postgresql),
        "rows": ", ".join(
            f"{number:,} in {table}" for table, number in count_rows(arguments.vms).items()
        ),
        "bytes of a row with its indexes": ", ".join(
            f"{table} {number:,.0f}" for table, number in row_bytes.items()
        ),
        "processes": f"{arguments.api} of the API, {arguments.workers} workers",
        "clients": f"{arguments.clients}",
        "connections": f"at most {connections}, each with {backend_mib:.1f} MiB of private memory",
        "memory of the largest API process": f"{installation.largest_api_mib():.0f} MiB",
    }


def parse_arguments() -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.installation", description=__doc__)
    parser.add_argument("--vms", type=int, default=1_000_000, help="VMs in the database")
    parser.add_argument("--api", type=int, default=50, help="processes of the API")
    parser.add_argument("--workers", type=int, default=20)
    parser.add_argument("--clients", type=int, default=16, help="threads that send requests")
    parser.add_argument("--seconds", type=float, default=30.0, help="duration of each phase")
    parser.add_argument("--short", action="store_true", help="small numbers, for CI")
    parser.add_argument(
        "--postgresql", metavar="URL", default=os.environ.get("TEST_POSTGRESQL_URL")
    )
    parser.add_argument("--output", type=Path, default=ROOT / "bench/INSTALLATION.md")
    arguments = parser.parse_args()
    if not arguments.postgresql:
        parser.error("name a PostgreSQL: --postgresql, or TEST_POSTGRESQL_URL")
    if arguments.short:
        vars(arguments).update(SHORT)
    return arguments


if __name__ == "__main__":
    main(parse_arguments())
