"""How old it is what is known of the VMs."""

from typing import Any

from sqlalchemy import Row, func, select

from vmapi.domain.snapshot import Sighting
from vmapi.store.database import now
from vmapi.store.mappers import vm as vm_rows
from vmapi.store.tables import syncs, vms

SYNCED = select(func.max(syncs.c.begun)).scalar_subquery()
"""The time up to which all changes are known."""

SEEN = (*vms.c, now().label("present"), SYNCED.label("synced"))
"""What `sighting` is made of."""


def sighting(row: Row[Any]) -> Sighting:
    """Return the VM of a row of `SEEN` as it is shown."""
    return Sighting(vm_rows.vm(row), row.revision, age(row))


def age(row: Row[Any]) -> float:
    """Return how many seconds ago the VM of a row of `SEEN` was as it is shown."""
    return seconds(row.present - max(row.begun, row.synced or 0))


def seconds(microseconds: int) -> float:
    """Return an age, which is never below zero."""
    return max(microseconds, 0) / 1_000_000
