"""Aim 6: the time that a change takes in addition to the call of the driver.

The driver alone sends Nova the change, and nothing else. The whole app takes turns with it, in this
process: from the WSGI environment of a request to the last byte of the response.
"""

import gc
import statistics
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench.aims import Limit, Result, Row, Table
from bench.apps import build_app, open_backend
from bench.clock import Duration, measure
from bench.databases import new_database
from bench.options import POSTGRESQL, SQLITE, RunOptions
from bench.targets import CHANGES, AppTarget, DriverTarget, Target

MAX_ADDED_MS = {SQLITE: 4.0, POSTGRESQL: 8.0}

Durations = defaultdict[tuple[str, str], list[Duration]]
"""The durations of all turns, by target and change."""


def measure_changes(options: RunOptions) -> Iterator[Result]:
    """Create, stop, start and delete a VM in turns: by the driver, and with each database."""
    with open_targets(options) as (baseline, *apps):
        run_lifecycle([baseline, *apps], defaultdict(list))
        gc.collect()
        gc.freeze()
        durations: Durations = defaultdict(list)
        for _ in range(options.scale.changes):
            run_lifecycle([baseline, *apps], durations)
        gc.unfreeze()
    added = {app.name: compute_added(durations, baseline.name, app.name) for app in apps}
    for database, by_change in added.items():
        medians = {change: compute_median(values, "wall") for change, values in by_change.items()}
        yield Row(
            "6",
            f"a change with a key, OpenStack on {database}: p50 in addition to the driver",
            max(medians.values()),
            "ms",
            Limit.at_most(MAX_ADDED_MS[database]),
            "; ".join(f"{change} {value:.1f}" for change, value in medians.items()),
        )
    yield build_table(durations, baseline.name, added)


@contextmanager
def open_targets(options: RunOptions) -> Iterator[list[Target]]:
    """Build the driver alone, and an app for each database."""
    with ExitStack() as stack:
        backend = stack.enter_context(open_backend())
        targets: list[Target] = [DriverTarget(backend)]
        for database in options.databases:
            url = stack.enter_context(new_database(options, database))
            app = stack.enter_context(build_app(backend, url, backend="openstack"))
            targets.append(AppTarget(database, app, keyed=True))
        yield targets


def run_lifecycle(targets: list[Target], durations: Durations) -> None:
    """Run the life of one VM on each target, change by change in turns."""
    for change in CHANGES:
        for target in targets:
            durations[target.name, change].append(measure(target.prepare(change)))
            target.settle()


def compute_added(durations: Durations, baseline: str, name: str) -> dict[str, list[Duration]]:
    """Return the differences within each turn, by change."""
    return {
        change: [
            total - alone
            for total, alone in zip(
                durations[name, change], durations[baseline, change], strict=True
            )
        ]
        for change in CHANGES
    }


def compute_median(values: list[Duration], kind: str) -> float:
    """Return the median of the wall times or of the CPU times."""
    return float(statistics.median(getattr(value, kind) for value in values))


def build_table(
    durations: Durations, baseline: str, added: dict[str, dict[str, list[Duration]]]
) -> Table:
    """Return the durations of all changes."""
    alone = {change: durations[baseline, change] for change in CHANGES}
    lines = [
        (
            change,
            name,
            f"{compute_median(values, 'wall'):.2f}",
            f"{compute_quantile(values):.2f}",
            f"{compute_median(values, 'cpu'):.2f}",
        )
        for name, by_change in {baseline: alone, **added}.items()
        for change, values in by_change.items()
    ]
    columns = ("change", "driver, or in addition to it", "p50 ms", "p90 ms", "p50 ms CPU")
    return Table("Changes on OpenStack", columns, tuple(lines))


def compute_quantile(values: list[Duration]) -> float:
    """Return the 90th percentile of the wall times."""
    return statistics.quantiles((value.wall for value in values), n=10)[8]
