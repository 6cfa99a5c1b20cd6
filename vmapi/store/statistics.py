"""Counts of operations, VMs, syncs and leases in the whole database, for metrics.

Each scrape of Prometheus runs these statements. Indexes answer them: those of unfinished operations
and of the status of VMs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Row, case, func, select, type_coerce

from vmapi.store.clock import db_now, sql_is_expired, sql_past_time, to_seconds
from vmapi.store.database import Database
from vmapi.store.inventory.repository import CHANGES, EVERYTHING
from vmapi.store.leader_leases import LEADER_LEASE_DURATION_US
from vmapi.store.operations.leases import LEASE_IS_EXPIRED
from vmapi.store.tables import IS_UNFINISHED, leader_leases, operations, sync_state, vms

SELECT_UNFINISHED_COUNTS = (
    select(
        operations.c.action,
        operations.c.status,
        func.count().label("operation_count"),
        func.sum(case((LEASE_IS_EXPIRED, 1), else_=0)).label("free"),
        (db_now() - func.min(type_coerce(operations.c.created_at, BigInteger))).label("age"),
    )
    .where(IS_UNFINISHED)
    .group_by(operations.c.action, operations.c.status)
)
SELECT_VM_COUNTS = select(vms.c.status, func.count().label("vm_count")).group_by(vms.c.status)
SELECT_SYNCS = select(
    sync_state.c.kind,
    (db_now() - sql_past_time(sync_state.c.started_at)).label("age"),
    (sync_state.c.finished_at - sync_state.c.started_at).label("duration"),
)
SELECT_LEADER_LEASES = select(
    leader_leases.c.name,
    leader_leases.c.process,
    sql_is_expired(leader_leases.c.expires_at, LEADER_LEASE_DURATION_US).label("is_expired"),
)


@dataclass(frozen=True, slots=True)
class UnfinishedOperations:
    """The unfinished operations of one action and status."""

    action: str
    status: str
    count: int
    free_leases: int
    """How many of them no process leases."""
    oldest_age_seconds: float


@dataclass(frozen=True, slots=True)
class DatabaseCounts:
    """The counts of one scrape."""

    unfinished: tuple[UnfinishedOperations, ...]
    vms_by_status: Mapping[str, int]
    sync_ages: Mapping[str, float]
    """Seconds since the start of the last sync: `full`, and `changes` for any of the two."""
    full_sync_seconds: float | None
    """The duration of the last full sync; None before the first."""
    is_job_leased: Mapping[str, bool]
    leaders: Mapping[str, str]
    """The processes that hold a leader lease, by job."""


class StoreStatistics:
    """Counts of the rows of one database. Any method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self) -> DatabaseCounts:
        """Return the counts."""
        with self._database.read() as connection:
            unfinished = connection.execute(SELECT_UNFINISHED_COUNTS).all()
            vm_counts = connection.execute(SELECT_VM_COUNTS).all()
            syncs = {row.kind: row for row in connection.execute(SELECT_SYNCS)}
            leases = connection.execute(SELECT_LEADER_LEASES).all()
        return DatabaseCounts(
            tuple(map(_to_unfinished, unfinished)),
            {row.status: row.vm_count for row in vm_counts},
            _sync_ages({kind: to_seconds(row.age) for kind, row in syncs.items()}),
            _duration_seconds(syncs.get(EVERYTHING)),
            {row.name: not row.is_expired for row in leases},
            {row.name: row.process for row in leases if not row.is_expired},
        )


def _to_unfinished(row: Row[Any]) -> UnfinishedOperations:
    age = to_seconds(row.age)
    return UnfinishedOperations(row.action, row.status, row.operation_count, int(row.free), age)


def _sync_ages(ages: Mapping[str, float]) -> Mapping[str, float]:
    # without a full sync, the inventory misses VMs of any age
    if EVERYTHING not in ages:
        return {}
    full = ages[EVERYTHING]
    return {"full": full, "changes": min(full, ages.get(CHANGES, full))}


def _duration_seconds(sync: Row[Any] | None) -> float | None:
    # a process of an earlier version saves no end
    return None if sync is None or sync.duration is None else to_seconds(sync.duration)
