"""Aim 9: changes made outside vmapi show soon, in a large cloud that changes all the time.

The simulated Nova has the response times of a real one in lists of changes. A change
sets the name of a server to the time.
"""

import sqlite3
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.aims import Limit, Result, Row
from bench.databases import new_database
from bench.options import SQLITE, RunOptions
from bench.processes import read_cpu_seconds, read_memory_mib
from bench.servers import build_cloud_settings, run_worker
from bench.standin import fake_openstack

MAX_P99_SECONDS = 2.0
MAX_CORE_PERCENT = 15.0
CHANGED_SHARE = 0.01
"""The share of the servers that change in a second."""
SAMPLE_INTERVAL = 0.05
"""Seconds between two queries of the database."""
MIN_CHANGES = 2
"""Changes that percentiles need."""
RECENT_US = 30_000_000
SYNC_TIMEOUT_SECONDS = 120.0


def measure_freshness(options: RunOptions) -> Iterator[Result]:
    """Measure the lag of changes in the inventory, and the cost of the sync."""
    scale = options.scale
    changes = scale.synced_vms * CHANGED_SHARE
    nova_options = ("--servers", str(scale.synced_vms), "--churn", str(changes))
    with (
        fake_openstack(*nova_options, "--delays", "changes") as nova_url,
        new_database(options, SQLITE) as url,
        run_worker(options, {**build_cloud_settings(nova_url), "VMAPI_DATABASE_URL": url}) as pid,
    ):
        path = url.removeprefix("sqlite:///")
        wait_for_full_sync(path, scale.synced_vms)
        # the changes during the first full sync count as warm-up
        time.sleep(scale.sync_warmup)
        started_at, used = time.monotonic(), read_cpu_seconds(pid)
        lags = collect_lags(path, scale.sync_seconds)
        share = (read_cpu_seconds(pid) - used) / (time.monotonic() - started_at)
        memory = read_memory_mib(pid)
    title = f"{scale.synced_vms:,} servers, {changes:.0f} changes a second"
    percentiles = statistics.quantiles(lags, n=100)
    detail = f"p50 {percentiles[49]:.2f} s, {len(lags):,} changes"
    limit = Limit.at_most(MAX_P99_SECONDS)
    yield Row("9", f"{title}: p99 until a change shows", percentiles[98], "s", limit, detail)
    limit = Limit.at_most(MAX_CORE_PERCENT)
    yield Row("9", f"{title}: CPU time of the sync, of a core", share * 100, "%", limit)
    yield Row("9", f"{title}: memory of the syncing process", memory, "MiB")


def wait_for_full_sync(path: str, vms: int) -> None:
    """Wait for the first full sync. Raises TimeoutError."""
    deadline = time.monotonic() + SYNC_TIMEOUT_SECONDS
    while not has_synced(path, vms):
        if time.monotonic() > deadline:
            raise TimeoutError(f"no full sync of {vms} servers")
        time.sleep(0.5)


def has_synced(path: str, vms: int) -> bool:
    """Return whether a full sync has stored all servers."""
    try:
        with open_database(path) as database:
            (syncs,) = database.execute("SELECT count(*) FROM sync_state").fetchone()
            (count,) = database.execute("SELECT count(*) FROM vms").fetchone()
    except sqlite3.OperationalError:
        return False
    return bool(syncs) and count >= vms


def collect_lags(path: str, seconds: float) -> list[float]:
    """Return the lag in seconds of each change that arrives during the time.

    A busy machine gets longer, until enough changes have arrived. Raises TimeoutError.
    """
    known: set[str] = set()
    lags: list[float] = []
    query = "SELECT name FROM vms WHERE updated_at > ?"
    started_at = time.time()
    with open_database(path) as database:
        while (now := time.time()) < started_at + seconds or len(lags) < MIN_CHANGES:
            if now > started_at + seconds + SYNC_TIMEOUT_SECONDS:
                raise TimeoutError(f"{len(lags)} changes arrived")
            names = {name for (name,) in database.execute(query, (now * 1e6 - RECENT_US,))}
            now = time.time()
            for name in names - known:
                changed_at = float(name.removeprefix("vm-"))
                if changed_at >= started_at:
                    lags.append(now - changed_at)
            known = names
            time.sleep(SAMPLE_INTERVAL)
    return lags


@contextmanager
def open_database(path: str) -> Iterator[sqlite3.Connection]:
    """Open the database read-only."""
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        yield database
    finally:
        database.close()
