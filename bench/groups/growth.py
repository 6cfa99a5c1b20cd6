"""Aim 4: the cost of a list does not grow with the inventory."""

import statistics
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path

from bench.aims import Limit, Result, Row, Table
from bench.client import VMS, connect
from bench.load import Load, measure_in_turns, send_load
from bench.options import POSTGRESQL, SQLITE, RunOptions
from bench.population import list_filters
from bench.processes import read_memory_mib
from bench.servers import Server, run_on_memory, run_on_openstack

MAX_GROWTH = 1.3
PAGE = f"{VMS}?page_size=100"
SORTS = ("created_at", "-created_at", "name", "-name", "updated_at", "-updated_at")
FIRST_PAGE, LATER_PAGE, NEW_FILTER = "first page", "later page", "a new filter in each request"
SCRIPT = Path(__file__).with_name("new_filter.lua")

Loads = dict[str, Load]


def measure_growth(options: RunOptions) -> Iterator[Result]:
    """Measure lists of each kind in inventories of several sizes."""
    small, *large = options.scale.small_inventory, *options.scale.large_inventories
    yield from compare_sizes(options, "OpenStack on SQLite", small, large, SQLITE)
    yield from compare_sizes(options, "memory cloud", small, large[:1], None)
    if options.postgresql_url:
        yield from compare_sizes(options, "OpenStack on PostgreSQL", small, large[:1], POSTGRESQL)


def compare_sizes(
    options: RunOptions, title: str, small: int, large: list[int], database: str | None
) -> Iterator[Result]:
    """Compare the lists of one cloud; no database: the memory cloud."""
    with ExitStack() as stack:
        servers = {
            size: stack.enter_context(run_sized(options, size, database))
            for size in (small, *large)
        }
        loads = measure_sizes(options, servers)
        for size in large:
            yield compare_loads(f"{title}, {size:,} VMs", loads[size], loads[small])
        (pid,) = servers[large[-1]].worker_pids
        yield Row(
            "4", f"{title}, {large[-1]:,} VMs: memory of the worker", read_memory_mib(pid), "MiB"
        )
    yield build_table(f"Lists of 100 on {title}", loads)


def run_sized(
    options: RunOptions, size: int, database: str | None
) -> AbstractContextManager[Server]:
    """Run a server with an inventory of a size; another process syncs with the cloud."""
    if database is None:
        return run_on_memory(options, size)
    return run_on_openstack(
        options, "--delays", "none", "--varied", vms=size, database=database, syncs=False
    )


def measure_sizes(options: RunOptions, servers: Mapping[int, Server]) -> dict[int, Loads]:
    """Measure each kind of list in turns for all sizes."""
    scale, loads = options.scale, {size: Loads() for size in servers}
    paths = {size: list_paths(server, size, scale.page_depth) for size, server in servers.items()}
    for kind in paths[scale.small_inventory]:
        script = SCRIPT if kind == NEW_FILTER else None
        sends = {
            str(size): partial(
                send_load,
                server,
                paths[size][kind],
                scale.growth_seconds,
                connections=1,
                script=script,
            )
            for size, server in servers.items()
        }
        for size, load in measure_in_turns(sends, scale.growth_rounds).items():
            loads[int(size)][kind] = load
    return loads


def list_paths(server: Server, size: int, depth: int) -> dict[str, str]:
    """Return the paths of all kinds of lists."""
    filters = {title: f"{PAGE}&{query}" for title, query in list_filters(size).items()}
    sorts = {f"sort={sort}": f"{PAGE}&sort={sort}" for sort in SORTS}
    pages = {FIRST_PAGE: PAGE, LATER_PAGE: find_page(server, depth), NEW_FILTER: PAGE}
    return pages | filters | sorts


def find_page(server: Server, depth: int) -> str:
    """Return the path of a page, or of the last full one of a shorter list."""
    path = PAGE
    with connect(server.url) as client:
        for _ in range(depth - 1):
            following = client.call("GET", path)["next"]
            if following is None:
                break
            path = following
    return path


def compare_loads(subject: str, loads: Loads, small: Loads) -> Row:
    """Return the largest growth of all kinds."""
    growth = {kind: load.cpu_us / small[kind].cpu_us for kind, load in loads.items()}
    worst = sorted(growth, key=growth.__getitem__, reverse=True)[:3]
    detail = "; ".join(f"{kind} {growth[kind]:.2f} ×" for kind in worst)
    middle = statistics.median(growth.values())
    return Row(
        "4",
        f"lists of 100, {subject}: CPU time, relative to the small inventory, of the worst kind",
        growth[worst[0]],
        "×",
        Limit.at_most(MAX_GROWTH),
        f"{detail}; median of {len(growth)} kinds {middle:.2f} ×",
    )


def build_table(title: str, loads: Mapping[int, Loads]) -> Table:
    """Return the CPU time of each kind by the size of the inventory."""
    small, *_ = loads.values()
    lines = tuple(
        (
            kind,
            *(f"{loads[size][kind].cpu_us:,.0f}" for size in loads),
            *(f"{loads[size][kind].cpu_us / load.cpu_us:.2f} ×" for size in list(loads)[1:]),
        )
        for kind, load in small.items()
    )
    sizes = tuple(f"{size:,} VMs: CPU µs" for size in loads)
    ratios = tuple(f"{size:,} VMs: growth" for size in list(loads)[1:])
    return Table(title, ("list", *sizes, *ratios), lines)
