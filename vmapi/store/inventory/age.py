"""How old it is what is known of the VMs."""

from typing import Any

from sqlalchemy import Row, func, select

from vmapi.domain.snapshot import VMSnapshot
from vmapi.store.database import db_now
from vmapi.store.mappers import vm as vm_rows
from vmapi.store.tables import sync_state, vms

SELECT_SYNCED_AT = select(func.max(sync_state.c.started_at)).scalar_subquery()
"""The time up to which all changes are known."""

SNAPSHOT_COLUMNS = (*vms.c, db_now().label("present"), SELECT_SYNCED_AT.label("synced"))
"""What `sighting` is made of."""


def snapshot_from_row(row: Row[Any]) -> VMSnapshot:
    """Return the VM of a row of `SEEN` as it is shown."""
    return VMSnapshot(vm_rows.from_row(row), row.revision, row_age_seconds(row))


def row_age_seconds(row: Row[Any]) -> float:
    """Return how many seconds ago the VM of a row of `SEEN` was as it is shown."""
    return to_seconds(row.present - max(row.observation_started_at, row.synced or 0))


def to_seconds(microseconds: int) -> float:
    """Return an age, which is never below zero."""
    return max(microseconds, 0) / 1_000_000
