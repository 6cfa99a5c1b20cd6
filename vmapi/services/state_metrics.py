"""The state of the database and of this process as samples of metrics.

The registry of metrics reads them when Prometheus scrapes.
"""

import platform
from collections.abc import Iterator
from typing import TYPE_CHECKING

from vmapi import __version__
from vmapi.domain.lifecycle import Action, Status
from vmapi.domain.operation import OperationStatus
from vmapi.errors import BackendTimeout, StoreUnavailable
from vmapi.services.timeouts import run_with_timeout
from vmapi.settings.settings import Settings
from vmapi.store.store import Store
from vmapi.telemetry.metrics import catalog
from vmapi.telemetry.metrics.metric import Sample

if TYPE_CHECKING:
    from vmapi.store.statistics import DatabaseCounts

COUNT_TIMEOUT = 5.0
"""Seconds for the statements of one scrape: less than Prometheus waits for a response."""

UNFINISHED_STATUSES = (OperationStatus.PENDING, OperationStatus.RUNNING)


class DatabaseMetrics:
    """The samples of the gauges `of_database`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[Sample]:
        """Count the rows of the database; without an answer, only say so."""
        results: list[DatabaseCounts] = []
        try:
            run_with_timeout(COUNT_TIMEOUT, lambda: results.append(self._store.statistics.count()))
        except (StoreUnavailable, BackendTimeout):
            yield catalog.DATABASE_UP, (), 0
            return
        yield catalog.DATABASE_UP, (), 1
        yield from _operation_samples(results[0])
        for status in Status:
            yield catalog.INVENTORY_VMS, (status,), results[0].vms_by_status.get(status, 0)
        for kind, age in results[0].sync_ages.items():
            yield catalog.INVENTORY_SYNC_AGE_SECONDS, (kind,), age
        for job, is_leased in results[0].is_job_leased.items():
            yield catalog.LEADER_LEASES, (job,), is_leased


def build_samples(settings: Settings, role: str) -> Iterator[Sample]:
    """Describe this process; `role` is `api` or `worker`."""
    labels = (__version__, platform.python_version(), settings.backend, settings.engine, role)
    yield catalog.BUILD_INFO, labels, 1


def _operation_samples(counts: "DatabaseCounts") -> Iterator[Sample]:
    by_state = {(group.action, group.status): group for group in counts.unfinished}
    for action in Action:
        groups = [by_state.get((action, status)) for status in UNFINISHED_STATUSES]
        for status, group in zip(UNFINISHED_STATUSES, groups, strict=True):
            count = group.count if group else 0
            yield catalog.UNFINISHED_OPERATIONS, (action, status), count
        oldest = max((group.oldest_age_seconds for group in groups if group), default=0.0)
        yield catalog.OLDEST_OPERATION_SECONDS, (action,), oldest
    free = sum(group.free_leases for group in counts.unfinished)
    total = sum(group.count for group in counts.unfinished)
    yield catalog.OPERATION_LEASES, ("free",), free
    yield catalog.OPERATION_LEASES, ("held",), total - free
