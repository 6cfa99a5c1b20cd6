"""The transactions, the waits for the disk and the statements of each change.

bench/README.md has the numbers: each change must have exactly these. With an `Idempotency-Key` a
change needs `KEY_COSTS` in addition, until its response.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

import pytest

from bench.apps import build_app, open_backend
from bench.statements import StatementCounts, recording
from bench.targets import ALL_CHANGES, AppTarget
from tests.support.databases import FILE_NAME, new_postgresql
from vmapi.backends.memory.driver import MemoryBackend

README = Path(__file__).parents[2] / "bench" / "README.md"
HEADING = "## Transactions and statements of each change"
RESPONSE, SETTLED = "until the response", "until the VM is settled"
KEY_COSTS = StatementCounts(reads=1, writes=0, disk_waits=0, statements=1)
NOTHING = StatementCounts(0, 0, 0, 0)

Costs = dict[str, StatementCounts]
"""The counts by change."""


def read_table() -> dict[str, Costs]:
    """Return the documented costs by column of the table."""
    section = README.read_text().split(HEADING)[1].split("\n## ")[0]
    header, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("|")
    ]
    return {
        column: {row[0]: parse_counts(row[place]) for row in rows}
        for place, column in enumerate(header)
        if place
    }


def parse_counts(cell: str) -> StatementCounts:
    """Return the counts of a cell, as `1 + 2 (1), 7`."""
    match = re.fullmatch(r"(\d+) \+ (\d+) \((\d+)\), (\d+)", cell)
    assert match is not None, cell
    return StatementCounts(*map(int, match.groups()))


@contextmanager
def open_target(cloud: str, url: str | None, *, keyed: bool) -> Iterator[AppTarget]:
    """Build an app on a cloud with a database; None is a temporary one."""
    if cloud == "memory":
        with build_app(MemoryBackend(), url, backend="memory") as app:
            yield AppTarget("costs", app, keyed=keyed)
        return
    with open_backend() as backend, build_app(backend, url, backend="openstack") as app:
        yield AppTarget("costs", app, keyed=keyed)


def measure(target: AppTarget) -> dict[str, Costs]:
    """Return the costs of all changes, after a life that fills the caches."""
    costs: dict[str, Costs] = {RESPONSE: {}, SETTLED: {}}
    for _ in range(2):
        for change in ALL_CHANGES:
            send = target.prepare(change)
            with recording() as recorded:
                send()
            costs[RESPONSE][change] = recorded.counts
            with recording() as recorded:
                target.settle()
            costs[SETTLED][change] = recorded.counts
    return costs


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def database(
    request: pytest.FixtureRequest, new_database_folder: Callable[[], str]
) -> Iterator[tuple[str, str]]:
    """The name and the URL of an empty database."""
    if request.param == "PostgreSQL":
        with new_postgresql() as url:
            yield request.param, url
        return
    folder = new_database_folder()
    yield request.param, f"sqlite:///{folder}/{FILE_NAME}"
    rmtree(folder)


@pytest.mark.parametrize("cloud", ["memory", "OpenStack"])
@pytest.mark.parametrize("keyed", [False, True], ids=["without key", "with key"])
def test_each_change_costs_the_documented_statements(
    cloud: str, database: tuple[str, str], keyed: bool
) -> None:
    name, url = database
    with open_target(cloud, url, keyed=keyed) as target:
        costs = measure(target)
    table = read_table()
    key_costs = KEY_COSTS if keyed else NOTHING
    documented = {
        change: StatementCounts(*map(sum, zip(counts, key_costs, strict=True)))
        for change, counts in table[f"{cloud}, {name}"].items()
    }
    assert costs[RESPONSE] == documented
    if cloud == "OpenStack":
        assert costs[SETTLED] == table[f"settled, {name}"]


def test_changes_in_a_temporary_database_wait_for_no_disk() -> None:
    with open_target("memory", None, keyed=True) as target:
        costs = measure(target)[RESPONSE]
    assert {change: counts.disk_waits for change, counts in costs.items()} == dict.fromkeys(
        ALL_CHANGES, 0
    )
    assert {counts.writes for counts in costs.values()} == {2}
