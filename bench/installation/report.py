"""Render the results of a large installation as a Markdown page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.installation.phases import Cost, IndexCost
from bench.report import render_table

INTRODUCTION = """# A large installation on one PostgreSQL

One run of `python -m bench.installation` wrote this page.
[Scale](../docs/explanation/scale.md) draws the conclusions.
All processes and PostgreSQL share the cores of one machine.
So the run measures CPU times and counts, and no latency.
The client of a change waits with `Prefer: wait`, and then reads its operation.
"""
COLUMNS = (
    *("phase", "number", "API: CPU µs", "workers: CPU µs", "PostgreSQL: CPU µs"),
    *("transactions", "WAL bytes", "full scans of large tables", "deadlocks"),
    "statements that waited for a lock",
)
TARGET_REQUESTS = 10_000
"""Requests a second of the extrapolation."""

CHANGE_SHARE = 0.01
"""The share of changes in them."""

LARGE = (50, 20)
"""Processes of the API, and workers, of the extrapolation."""

USED_SHARE = 0.6
"""How much of a core the extrapolation uses."""


def write_page(
    path: Path,
    facts: Mapping[str, str],
    costs: Sequence[Cost],
    index: IndexCost,
    processes: tuple[int, int],
) -> None:
    """Write the page."""
    sections = [
        INTRODUCTION,
        render_table(("", ""), facts.items()),
        "## Cost of one request or second\n",
        render_table(COLUMNS, map(_render_cost, costs)),
        "## The first list of a process\n",
        render_table(
            ("live VMs", "seconds until the response", "memory that the process gains, MiB"),
            [(f"{index.vms:,}", f"{index.seconds:.1f}", f"{index.memory_mib:.0f}")],
        ),
        "## Extrapolation\n",
        render_table(
            ("quantity", "value", "from"), [*extrapolate(costs), *scale_idle(costs, *processes)]
        ),
    ]
    path.write_text("\n".join(sections), encoding="utf-8")


def extrapolate(costs: Sequence[Cost]) -> list[tuple[str, str, str]]:
    """Return the needs of 10,000 requests a second, of which one in a hundred is a change."""
    idle = costs[0]
    change, read = (cost.without(idle) for cost in costs[1:])
    changes = TARGET_REQUESTS * CHANGE_SHARE
    reads = TARGET_REQUESTS - changes
    load = f"{reads:,.0f} reads and {changes:,.0f} changes a second"

    def add_up(name: str) -> float:
        """Return the use of a second: without requests, and by all requests."""
        used = [float(getattr(cost, name)) for cost in (idle, read, change)]
        return used[0] + reads * used[1] + changes * used[2]

    cores = f"{load}; {USED_SHARE:.0%} of each core used"
    return [
        ("cores of the API", _cores(add_up("api_us")), cores),
        ("cores of the workers", _cores(add_up("worker_us")), cores),
        ("cores of PostgreSQL", _cores(add_up("postgresql_us")), cores),
        ("transactions of PostgreSQL a second", f"{add_up('transactions'):,.0f}", load),
        ("WAL, MB a second", f"{changes * change.wal_bytes / 1e6:.2f}", "changes only"),
    ]


def scale_idle(costs: Sequence[Cost], api: int, workers: int) -> list[tuple[str, str, str]]:
    """Return the needs of the large installation without requests."""
    connections = max(cost.activity.max_connections for cost in costs) / (api + workers)
    number, source = sum(LARGE), f"{LARGE[0]} processes of the API and {LARGE[1]} workers"
    idle, factor = costs[0], LARGE[1] / workers
    return [
        ("connections in use", f"{connections * number:,.0f}", source),
        (
            "idle: transactions of PostgreSQL a second",
            f"{idle.transactions * factor:,.0f}",
            f"{source}, by workers",
        ),
        (
            "idle: CPU of PostgreSQL, of a core",
            f"{idle.postgresql_us * factor / 1e4:.0f}%",
            f"{source}, by workers",
        ),
    ]


def _cores(used_us: float) -> str:
    return f"{used_us / 1e6 / USED_SHARE:.1f}"


def _render_cost(cost: Cost) -> tuple[str, ...]:
    return (
        cost.title,
        f"{cost.number:,}",
        *(f"{us:,.0f}" for us in (cost.api_us, cost.worker_us, cost.postgresql_us)),
        f"{cost.transactions:,.2f}",
        f"{cost.wal_bytes:,.0f}",
        f"{cost.full_scans:,.0f}",
        f"{cost.deadlocks:,.0f}",
        f"{cost.activity.waiting_share:.2%}",
    )
