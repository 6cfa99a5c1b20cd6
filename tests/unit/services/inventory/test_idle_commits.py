"""An idle process writes leases and sync marks without a wait for the disk."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import event

from tests.support.reconciler_harness import ReconcilerHarness
from vmapi.services.inventory.sync import InventorySync
from vmapi.services.maintenance import Maintenance

DURABLE = "PRAGMA synchronous=FULL"
NOT_DURABLE = "PRAGMA synchronous=NORMAL"


def build_tasks(
    harness: ReconcilerHarness, monotonic: Callable[[], float]
) -> list[Callable[[], object]]:
    """Return the periodic tasks of a process."""
    day = timedelta(days=1)
    maintenance = Maintenance(
        harness.store,
        read_audit_keys=lambda: ["k" * 32],
        operation_retention=day,
        audit_retention=day,
        event_retention=day,
        clock=harness.clock,
        monotonic=monotonic,
    )
    sync = InventorySync(
        harness.observer,
        harness.store,
        on_full_sync=lambda: None,
        clock=harness.clock,
        monotonic=monotonic,
    )
    return [maintenance.run, *sync.tasks.values()]


def test_idle_process_commits_no_durable_transaction(tmp_path: Path) -> None:
    harness = ReconcilerHarness.build(url=f"sqlite:///{tmp_path}/vmapi.sqlite3")
    now = time.monotonic()
    tasks = build_tasks(harness, lambda: now)
    for task in tasks:
        task()
    statements: list[str] = []

    def record(_: Any, __: Any, statement: str, *___: Any) -> None:
        statements.append(statement)

    event.listen(harness.store.database.engine, "before_cursor_execute", record)
    for _ in range(5):
        now += 1.0
        for task in tasks:
            task()
    assert statements.count(NOT_DURABLE) >= 5
    assert DURABLE not in statements
