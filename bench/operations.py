"""What an operation adds to a change over Nova's own call: `.venv/bin/python -m bench.operations`.

The peer is the driver sending Nova the change, and nothing else. The whole request takes turns
with it, with its operation kept in a SQLite file and in PostgreSQL; what is printed are percentiles
of the differences within a turn. Nova is `bench.standin`, a process of its own, so that Nova's own
scatter hides nothing. The request goes from its WSGI environment to the last byte of the answer, in
this process: the server in front is not in it, the log lines are, into nowhere. CPU is this
process's own.

PostgreSQL is measured where TEST_POSTGRESQL_URL names an empty one. An honest one writes what it
is told to its disk: `TEST_POSTGRESQL_OPTIONS= tests/with-postgresql .venv/bin/python -m …`.
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
from bench.sides import CHANGES, AppTarget, DriverTarget, Target
from bench.standin import fake_openstack
from bench.statements import recording
from vmapi.app import create_app
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.settings.settings import Settings

POSTGRESQL = os.environ.get("TEST_POSTGRESQL_URL")
Durations = defaultdict[tuple[str, str], list[Duration]]


def main(options: argparse.Namespace) -> None:
    """Print what is added, what is sent to the database, and where the time goes."""
    with open_targets(options) as (bare, *others):
        print(describe_machine())
        if POSTGRESQL:
            print(durability(POSTGRESQL))
        run_lifecycle([bare, *others], defaultdict(list), defaultdict(list))
        gc.collect()
        gc.freeze()
        asked: Durations = defaultdict(list)
        settled: Durations = defaultdict(list)
        for _ in range(options.turns):
            run_lifecycle([bare, *others], asked, settled)
        load, keys = os.getloadavg()[0], "with keys" if options.keys else "without keys"
        print(f"{options.turns} turns {keys}, Nova's latency {options.latency} s, load {load:.1f}")
        for what, times in (("until it is answered", asked), ("until it is settled", settled)):
            print(f"\n{what:<42}    p50    p90 ms wall    p50    p90 ms CPU")
            table(times, bare, others)
        for side in others:
            show_statements(side)
            profile(side, options.profile)


@contextmanager
def open_targets(options: argparse.Namespace) -> Iterator[list[Target]]:
    """Set everything up, and take it down again."""
    for name in [name for name in os.environ if name.startswith("OS_")]:
        del os.environ[name]
    with (
        fake_openstack("--latency", str(options.latency)) as url,
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        Path(os.devnull).open("w") as log,
    ):
        ours = Settings(
            openstack_auth_url=f"{url}/identity/v3",
            openstack_username="bench",
            openstack_password="bench",
            openstack_project="bench",
        )
        backend = OpenStackBackend.from_settings(ours)
        found: list[Target] = [DriverTarget(backend)]
        urls = {"SQLite": f"sqlite:///{folder}/vmapi.sqlite3", "PostgreSQL": POSTGRESQL}
        with redirect_stdout(log):
            apps = {name: build_app(backend, url) for name, url in urls.items() if url}
        found += [AppTarget(name, app, keyed=options.keys) for name, app in apps.items()]
        yield found
        for app in apps.values():
            app.extensions["vmapi"].store.close()
        backend.close()


def build_app(backend: OpenStackBackend, url: str) -> Flask:
    """Make an app that keeps its operations at a URL."""
    rates = dict.fromkeys(("rate_reads", "rate_changes", "rate_address"), ())
    settings = Settings(database_url=url, backend="openstack", auth=("none",), **rates)
    app = create_app(settings, backend)
    app.extensions["vmapi"].store.upgrade()
    return app


def durability(url: str) -> str:
    """Tell which PostgreSQL this is, and whether it waits for its disk."""
    names = ("server_version", "fsync", "synchronous_commit")
    asked = ", ".join(f"current_setting('{name}')" for name in names)
    engine = create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(text(f"SELECT {asked}")).one()
    engine.dispose()
    return "PostgreSQL: " + ", ".join(map(" ".join, zip(names, found, strict=True)))


def run_lifecycle(sides: list[Target], asked: Durations, settled: Durations) -> None:
    """Lead one VM of each side through its life, the sides taking turns."""
    for change in CHANGES:
        for side in sides:
            answer = measure(side.prepare(change))
            whole = answer + measure(side.settle)
            asked[side.name, change].append(answer)
            settled[side.name, change].append(whole)


def table(times: Durations, bare: Target, others: list[Target]) -> None:
    """Print what the peer takes, and what each other side takes more."""
    for change in CHANGES:
        peer = times[bare.name, change]
        line(f"{change:<7} {bare.name}", peer)
        for side in others:
            pairs = zip(times[side.name, change], peer, strict=True)
            line(f"{'':<7} added by {side.name}", [ours - bare for ours, bare in pairs])


def line(what: str, times: list[Duration]) -> None:
    """Print the percentiles of some times."""
    wall, cpu = ([getattr(each, kind) for each in times] for kind in ("wall", "cpu"))
    tenths = [statistics.quantiles(each, n=10) for each in (wall, cpu)]
    middle, ninth = ([each[at] for each in tenths] for at in (4, 8))
    wall_text, cpu_text = (f"{a:6.2f} {b:6.2f}" for a, b in zip(middle, ninth, strict=True))
    print(f"{what:<42} {wall_text}         {cpu_text}")


def show_statements(side: Target) -> None:
    """Print what a change sends to its database."""
    for change in CHANGES:
        for what, call in (("answered", side.prepare(change)), ("settled", side.settle)):
            with recording() as found:
                call()
            print(f"\n{change}, until it is {what}: {found}", found.in_short(), sep="\n")


def profile(side: Target, lives: int) -> None:
    """Print where the time of the requests goes, under a profiler that slows them down."""
    profiler = cProfile.Profile()
    for _ in range(lives):
        for change in CHANGES:
            profiler.runcall(side.prepare(change))
            side.settle()
    if lives:
        found = pstats.Stats(profiler)
        found.sort_stats("tottime").print_stats(25)
        found.sort_stats("cumulative").print_stats("vmapi/|sqlalchemy/engine/base", 45)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="bench.operations")
    parser.add_argument("turns", type=int, nargs="?", default=200)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that Nova takes")
    parser.add_argument("--keys", action="store_true", help="send an Idempotency-Key")
    parser.add_argument("--profile", type=int, default=0, metavar="N", help="profile N lives")
    main(parser.parse_args())
