"""The inventory: every VM as it was seen last, with what is under way laid over it.

Observations come from any process, in any order; `observation` tells which is the newest.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, func, select

from vmapi.domain.pagination import Page, PageRequest
from vmapi.domain.project import Scope
from vmapi.domain.quota import ResourceUsage
from vmapi.domain.snapshot import VMListing, VMSnapshot
from vmapi.domain.vm import VM, VMQuery
from vmapi.store import quotas as quota
from vmapi.store.database import Database, advisory_lock, db_now, db_time
from vmapi.store.inventory import duplicates as doubles
from vmapi.store.inventory import observations as observation
from vmapi.store.inventory import statements as vm_queries
from vmapi.store.inventory.age import (
    SELECT_SYNCED_AT,
    SNAPSHOT_COLUMNS,
    row_age_seconds,
    to_seconds,
)
from vmapi.store.inventory.cache import VERSION_COLUMNS, VMCache
from vmapi.store.inventory.duplicates import DuplicateVM
from vmapi.store.tables import sync_state, vms

SELECT_VM: Select[Any] = select(*SNAPSHOT_COLUMNS, *VERSION_COLUMNS[2:])
SELECT_LIVE_VM = SELECT_VM.where(vms.c.id == bindparam("id"), vms.c.deleted_at.is_(None))
SELECT_ID_BY_NAME = (
    select(vms.c.id)
    .where(
        vms.c.project == bindparam("of"),
        vms.c.name == bindparam("called"),
        vms.c.deleted_at.is_(None),
    )
    .limit(1)
)
SELECT_NAME_HOLDER = select(
    db_now().label("present"),
    SELECT_SYNCED_AT.label("synced"),
    SELECT_ID_BY_NAME.scalar_subquery().label("holder"),
)

OBSERVATION_BATCH = 200
"""VMs that are kept in one transaction."""

BATCH_PAUSE = 0.02
"""Seconds between two of those: SQLite lets others write only while nobody does."""


class InventoryRepository:
    """What is known of the VMs. Any method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._cache = VMCache()

    def observation_time(self) -> int:
        """Return the time on the clock that all share; taken before the cloud is asked."""
        with self._database.read() as connection:
            return db_time(connection)

    def save_observations(self, vms: Sequence[VM], started_at: int) -> set[str]:
        """Keep what was seen by a look at the cloud that began then.

        Return the ids of those that are kept so now: the others were known better.
        """
        # in one order for all, so that no two wait for each other; a list may tell of one twice
        found = {vm.id: vm for vm in vms}
        ordered = [found[vm_id] for vm_id in sorted(found)]
        kept: set[str] = set()
        for start in range(0, len(ordered), OBSERVATION_BATCH):
            chunk = ordered[start : start + OBSERVATION_BATCH]
            if start:
                time.sleep(BATCH_PAUSE)
            kept |= self._save_batch(chunk, started_at)
        return kept

    def mark_deleted(self, vm_id: str, at: datetime, observed_at: int) -> None:
        """Keep that the cloud knows a VM no more, as it had told by then."""
        with self._database.write() as connection:
            observation.apply_deletion(connection, vm_id, at, observed_at)

    def ids_not_observed_since(self, started_at: int) -> list[str]:
        """Return the VMs that no look has shown which began then or later."""
        query = select(vms.c.id).where(
            vms.c.deleted_at.is_(None), vms.c.observation_started_at < started_at
        )
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def get(self, vm_id: str, scope: Scope = None) -> VMSnapshot | None:
        """Return a VM that is not deleted, if it is known to be of this project."""
        with self._database.read() as connection:
            row = connection.execute(SELECT_LIVE_VM, {"id": vm_id}).first()
        if row is None or scope not in (None, row.project):
            return None
        return VMSnapshot(self._cache.get(row), row.revision, row_age_seconds(row))

    def list_page(
        self, query: VMQuery, request: PageRequest, deleted_after: datetime, scope: Scope = None
    ) -> VMListing:
        """Return a page of a project's VMs that are asked for; of the deleted ones the later."""
        wanted = vm_queries.build_filters(query, deleted_after, scope)
        with self._database.snapshot() as connection:
            count = select(func.count()).select_from(vms).where(*wanted)
            total = request.after.total if request.after else connection.execute(count).scalar_one()
            rows = connection.execute(vm_queries.select_page(query.sort, wanted, request)).all()
            clock, synced = connection.execute(select(db_now(), SELECT_SYNCED_AT)).one()
            shown = rows[: request.page_size]
            found = self._cache.read(connection, shown)
        age = to_seconds(clock - synced) if synced else None
        end = (
            vm_queries.position_of(query.sort, shown[-1], total) if len(rows) > len(shown) else None
        )
        return VMListing(Page(found, total, request, end), age)

    def find_by_name(self, project: str, name: str) -> tuple[str | None, float | None]:
        """Return which live VM of a project has a name, and the `age` of that."""
        with self._database.read() as connection:
            row = connection.execute(SELECT_NAME_HOLDER, {"of": project, "called": name}).one()
        return row.holder, to_seconds(row.present - row.synced) if row.synced else None

    def get_usage(self, project: str) -> ResourceUsage:
        """Return how much a project has of what quotas limit."""
        with self._database.read() as connection:
            return quota.get_usage(connection, project)

    def age_seconds(self) -> float | None:
        """Return how many seconds ago all changes were known; None where nobody ever looked."""
        with self._database.read() as connection:
            clock, synced = connection.execute(select(db_now(), SELECT_SYNCED_AT)).one()
        return to_seconds(clock - synced) if synced else None

    def list_duplicates(self) -> list[DuplicateVM]:
        """Return the VMs that were made beside the one of their create, or after it had failed.

        What a create has made that timed out meanwhile is that create's from now on.
        """
        with self._database.write() as connection:
            doubles.adopt(connection)
            return doubles.find_duplicates(connection)

    def find_created_by(self, operation_id: str) -> str | None:
        """Return a VM that a create has made, deleted or not, if one was seen."""
        query = select(vms.c.id).where(vms.c.operation_id == operation_id).limit(1)
        with self._database.read() as connection:
            found: str | None = connection.execute(query).scalar()
        return found

    def latest_update(self) -> datetime | None:
        """Return when a VM was changed last, on the cloud's clock; None for no VM."""
        with self._database.read() as connection:
            found: datetime | None = connection.execute(select(func.max(vms.c.updated_at))).scalar()
        return found

    def mark_changes_synced(self, started_at: int) -> None:
        """Keep that all changes up to then are known."""
        self._save_sync_mark("changes", started_at)

    def mark_full_sync(self, started_at: int) -> None:
        """Keep that everything is known as it was then."""
        self._save_sync_mark("everything", started_at)

    def seconds_since_full_sync(self) -> float | None:
        """Return how many seconds ago the last look at everything began; None before the first."""
        query = select(db_now() - sync_state.c.started_at).where(sync_state.c.kind == "everything")
        with self._database.read() as connection:
            passed = connection.execute(query).scalar()
        return None if passed is None else to_seconds(passed)

    def purge_deleted(self, until: datetime) -> int:
        """Forget VMs that were deleted before then; return how many."""
        old = vms.delete().where(vms.c.deleted_at < until)
        with self._database.write() as connection:
            return connection.execute(old).rowcount

    def _save_sync_mark(self, kind: str, begun: int) -> None:
        with self._database.write(durable=False) as connection:
            noted = sync_state.update().where(sync_state.c.kind == kind).values(started_at=begun)
            if not connection.execute(noted).rowcount:
                advisory_lock(connection, "syncs")
                known = select(sync_state.c.kind).where(sync_state.c.kind == kind)
                if connection.execute(known).first() is None:
                    connection.execute(sync_state.insert().values(kind=kind, started_at=begun))

    def _save_batch(self, seen: Sequence[VM], begun: int) -> set[str]:
        kept: set[str] = set()
        while seen:
            with self._database.write() as connection:
                found, seen = observation.apply(connection, seen, begun)
            kept |= found
        return kept
