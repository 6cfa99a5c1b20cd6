"""Measure the overhead of an operation over a call to Nova: `… -m bench.operations [TURNS]`.

The baseline is the driver that sends Nova the change, and nothing else. The whole request takes
turns with it: once with SQLite, once with PostgreSQL. The output is percentiles of the differences
within a turn. Nova is `bench.standin` in another process, so that the variance of a real Nova hides
nothing. A request runs from its WSGI environment to the last byte of the response, in this process:
without gunicorn, and with log lines to /dev/null. CPU is that of this process.

PostgreSQL is measured if TEST_POSTGRESQL_URL names an empty database. For one that waits for the
disk: `TEST_POSTGRESQL_OPTIONS= tests/with-postgresql .venv/bin/python -m bench.operations`.
"""

import argparse
import cProfile
import gc
import os
import pstats
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from flask import Flask
from sqlalchemy import create_engine, text

from bench.clock import Duration, measure
from bench.machine import describe_machine
from bench.standin import fake_openstack
from bench.statements import recording
from bench.targets import CHANGES, AppTarget, DriverTarget, Target
from vmapi.app import create_app
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.settings.settings import Settings

POSTGRESQL = os.environ.get("TEST_POSTGRESQL_URL")
Durations = defaultdict[tuple[str, str], list[Duration]]


def main(options: argparse.Namespace) -> None:
    """Print the overhead, the SQL statements and a profile."""
    with open_targets(options) as (baseline, *others):
        print(describe_machine())
        if POSTGRESQL:
            print(durability(POSTGRESQL))
        run_lifecycle([baseline, *others], defaultdict(list), defaultdict(list))
        gc.collect()
        gc.freeze()
        responded: Durations = defaultdict(list)
        settled: Durations = defaultdict(list)
        for _ in range(options.turns):
            run_lifecycle([baseline, *others], responded, settled)
        load, keys = os.getloadavg()[0], "with keys" if options.keys else "without keys"
        print(f"{options.turns} turns {keys}, Nova's latency {options.latency} s, load {load:.1f}")
        for label, times in (
            ("until the response", responded),
            ("until the VM is settled", settled),
        ):
            print(f"\n{label:<42}    p50    p90 ms wall    p50    p90 ms CPU")
            print_overheads(times, baseline, others)
        for target in others:
            print_statements(target)
            profile(target, options.profile)


@contextmanager
def open_targets(options: argparse.Namespace) -> Iterator[list[Target]]:
    """Build the targets, and close them afterwards."""
    for name in [name for name in os.environ if name.startswith("OS_")]:
        del os.environ[name]
    with (
        fake_openstack("--latency", str(options.latency)) as url,
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        Path(os.devnull).open("w") as log,
    ):
        settings = Settings(
            openstack_auth_url=f"{url}/identity/v3",
            openstack_username="bench",
            openstack_password="bench",
            openstack_project="bench",
        )
        backend = OpenStackBackend.from_settings(settings)
        targets: list[Target] = [DriverTarget(backend)]
        urls = {"SQLite": f"sqlite:///{folder}/vmapi.sqlite3", "PostgreSQL": POSTGRESQL}
        with redirect_stdout(log):
            apps = {name: build_app(backend, url) for name, url in urls.items() if url}
        targets += [AppTarget(name, app, keyed=options.keys) for name, app in apps.items()]
        yield targets
        for app in apps.values():
            app.extensions["vmapi"].store.close()
        backend.close()


def build_app(backend: OpenStackBackend, url: str) -> Flask:
    """Build an app with a database."""
    rates = dict.fromkeys(("rate_reads", "rate_changes", "rate_address"), ())
    settings = Settings(database_url=url, backend="openstack", auth=("none",), **rates)
    app = create_app(settings, backend)
    app.extensions["vmapi"].store.upgrade()
    return app


def durability(url: str) -> str:
    """Return the version of PostgreSQL, and whether it waits for the disk."""
    names = ("server_version", "fsync", "synchronous_commit")
    columns = ", ".join(f"current_setting('{name}')" for name in names)
    engine = create_engine(url)
    with engine.connect() as connection:
        values = connection.execute(text(f"SELECT {columns}")).one()
    engine.dispose()
    return "PostgreSQL: " + ", ".join(map(" ".join, zip(names, values, strict=True)))


def run_lifecycle(targets: list[Target], responded: Durations, settled: Durations) -> None:
    """Run the life of one VM on each target, change by change in turns."""
    for change in CHANGES:
        for target in targets:
            response = measure(target.prepare(change))
            total = response + measure(target.settle)
            responded[target.name, change].append(response)
            settled[target.name, change].append(total)


def print_overheads(times: Durations, baseline: Target, others: list[Target]) -> None:
    """Print the durations of the baseline, and the overhead of each other target."""
    for change in CHANGES:
        base = times[baseline.name, change]
        print_percentiles(f"{change:<7} {baseline.name}", base)
        for target in others:
            pairs = zip(times[target.name, change], base, strict=True)
            overheads = [total - alone for total, alone in pairs]
            print_percentiles(f"{'':<7} added by {target.name}", overheads)


def print_percentiles(label: str, durations: list[Duration]) -> None:
    """Print p50 and p90 of the wall time and of the CPU time."""
    columns = []
    for kind in ("wall", "cpu"):
        deciles = statistics.quantiles((getattr(item, kind) for item in durations), n=10)
        columns.append(f"{deciles[4]:6.2f} {deciles[8]:6.2f}")
    print(f"{label:<42} {columns[0]}         {columns[1]}")


def print_statements(target: Target) -> None:
    """Print the SQL statements of each change."""
    for change in CHANGES:
        for label, call in (("response", target.prepare(change)), ("VM is settled", target.settle)):
            with recording() as statements:
                call()
            print(f"\n{change}, until the {label}: {statements}", statements.in_short(), sep="\n")


def profile(target: Target, lives: int) -> None:
    """Print a profile of the requests. The profiler slows them down."""
    profiler = cProfile.Profile()
    for _ in range(lives):
        for change in CHANGES:
            profiler.runcall(target.prepare(change))
            target.settle()
    if lives:
        stats = pstats.Stats(profiler)
        stats.sort_stats("tottime").print_stats(25)
        stats.sort_stats("cumulative").print_stats("vmapi/|sqlalchemy/engine/base", 45)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="bench.operations")
    parser.add_argument("turns", type=int, nargs="?", default=200)
    parser.add_argument(
        "--latency", type=float, default=0.0, help="seconds of each response of Nova"
    )
    parser.add_argument("--keys", action="store_true", help="send an Idempotency-Key")
    parser.add_argument("--profile", type=int, default=0, metavar="N", help="profile N lives")
    main(parser.parse_args())
