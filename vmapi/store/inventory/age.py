"""Age of inventory rows. A time in the future says nothing: the row counts as a day old."""

from typing import Any

from sqlalchemy import Row, func, select

from vmapi.domain.snapshot import VMSnapshot
from vmapi.store.clock import db_now, past_time, sql_past_time
from vmapi.store.mappers import vm as vm_mapper
from vmapi.store.tables import sync_state, vms

SELECT_SYNCED_AT = select(func.max(sql_past_time(sync_state.c.started_at))).scalar_subquery()
"""The time up to which all changes are known; NULL before the first sync."""

SNAPSHOT_COLUMNS = (*vms.c, db_now().label("now"), SELECT_SYNCED_AT.label("synced_at"))
"""The columns that `snapshot_from_row` reads."""


def snapshot_from_row(row: Row[Any]) -> VMSnapshot:
    """Return the snapshot of a row of `SNAPSHOT_COLUMNS`."""
    return VMSnapshot(vm_mapper.from_row(row), row.revision, row_age_seconds(row))


def row_age_seconds(row: Row[Any]) -> float:
    """Return the age of a row: since its observation or the last sync."""
    observed_at = past_time(row.observation_started_at, row.now)
    return to_seconds(row.now - max(observed_at, row.synced_at or 0))


def to_seconds(microseconds: int) -> float:
    """Return a duration in seconds, never below zero."""
    return max(microseconds, 0) / 1_000_000
