"""The inventory: every VM as last observed, with the overlay applied.

The observer writes observations here, in any order and from any process: `observations` decides
which one is newer. Readers get VMs with an age, which grows while no process syncs.
"""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import bindparam, exists, func, select

from vmapi.domain.access.project import Scope
from vmapi.domain.lifecycle import Status
from vmapi.domain.observation import Observation
from vmapi.domain.operation import CreateWindow
from vmapi.domain.pagination import MAX_PAGE_SIZE, Page, PageRequest
from vmapi.domain.quota import ResourceUsage
from vmapi.domain.snapshot import VMListing, VMSnapshot
from vmapi.domain.vm import VM, VMQuery
from vmapi.errors import StoreUnavailable
from vmapi.store import quotas as quota_usage
from vmapi.store.clock import db_now, sql_past_time, to_seconds
from vmapi.store.database import Database, advisory_lock
from vmapi.store.inventory import duplicates, observations, statements
from vmapi.store.inventory.changes import INDEXED_COLUMNS, new_change_reader
from vmapi.store.inventory.duplicates import DuplicateVM
from vmapi.store.inventory.overlay import SELECT_SYNCED_AT
from vmapi.store.inventory.read_cache import ReadCache, StoredVM
from vmapi.store.inventory.vm_index import VMIndex
from vmapi.store.mappers import vm as vm_mapper
from vmapi.store.tables import IS_UNFINISHED, name_reservations, operations, sync_state, vms

log = structlog.get_logger("vmapi.inventory")

SELECT_INDEXED_VMS = select(*INDEXED_COLUMNS).where(vms.c.deleted_at.is_(None))
SELECT_LIVE_VMS_BY_IDS = select(vms).where(
    vms.c.id.in_(bindparam("ids", expanding=True)), vms.c.deleted_at.is_(None)
)
SELECT_ID_BY_NAME = (
    select(vms.c.id)
    .where(
        vms.c.project == bindparam("of_project"),
        vms.c.name == bindparam("of_name"),
        vms.c.deleted_at.is_(None),
    )
    .limit(1)
)
SELECT_NAME_HOLDER = select(
    db_now().label("now"),
    SELECT_SYNCED_AT.label("synced_at"),
    SELECT_ID_BY_NAME.scalar_subquery().label("holder"),
)
SELECT_CLOCKS = select(db_now().label("now"), SELECT_SYNCED_AT.label("synced_at"))

# a VM that was deleted outside vmapi has no delete that releases its name
RELEASE_NAMES_OF_DELETED = name_reservations.delete().where(
    name_reservations.c.vm_id.in_(
        select(vms.c.id).where(vms.c.deleted_at < bindparam("until", type_=vms.c.deleted_at.type))
    ),
    ~exists().where(IS_UNFINISHED, operations.c.id == name_reservations.c.operation_id),
)

CHANGES = "changes"
EVERYTHING = "everything"

OBSERVATION_BATCH = 200
"""VMs that one transaction writes."""

BATCH_PAUSE = 0.02
"""Seconds between two batches: SQLite serves other writers only while no transaction is open."""


class InventoryRepository:
    """The VMs of one database. Any method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database
        reader = new_change_reader(database)
        self._read_cache = ReadCache(database, reader, self._load_vms, self._load_index)

    def close(self) -> None:
        """Close the connection of the read cache."""
        self._read_cache.close()

    def observation_time(self) -> int:
        """Return the database's time in microseconds, before a request to the cloud."""
        return self._database.time()

    def save_observations(self, vms: Sequence[VM], started_at: int) -> set[str]:
        """Save VMs as observed by a request to the cloud that started at a time.

        Returns the ids of the rows that agree with the observation; the other rows are newer.
        """
        # one order for all writers, so that no two wait for each other; a list may repeat a VM
        by_id = {vm.id: vm for vm in vms}
        ordered = [by_id[vm_id] for vm_id in sorted(by_id)]
        applied: set[str] = set()
        for start in range(0, len(ordered), OBSERVATION_BATCH):
            if start:
                time.sleep(BATCH_PAUSE)
            applied |= self._save_batch(ordered[start : start + OBSERVATION_BATCH], started_at)
        return applied

    def mark_deleted(self, vm_id: str, at: datetime, observed_at: int) -> None:
        """Save that the cloud does not know a VM; see `observations.apply_deletion`."""
        with self._database.write() as connection:
            observations.apply_deletion(connection, vm_id, at, observed_at)

    def ids_not_observed_since(self, started_at: int) -> list[str]:
        """Return the ids of live VMs without an observation since a time."""
        query = select(vms.c.id).where(
            vms.c.deleted_at.is_(None), sql_past_time(vms.c.observation_started_at) < started_at
        )
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def get(
        self, vm_id: str, scope: Scope = None, *, is_current: bool = False
    ) -> VMSnapshot | None:
        """Return a live VM of a project; None if the inventory has none.

        `is_current`: every change in the cloud is known, whatever the age.
        """
        snapshot = self._read_cache.get_vm(vm_id, is_current=is_current)
        if snapshot is None or scope not in (None, snapshot.vm.project):
            return None
        return snapshot

    def get_many(self, vm_ids: Sequence[str], scope: Scope = None) -> dict[str, VM]:
        """Return the live VMs of a project among these ids, by id."""
        live = self._read_cache.get_vms(vm_ids)
        return {vm_id: vm for vm_id, vm in live.items() if scope in (None, vm.project)}

    def list_page(
        self, query: VMQuery, request: PageRequest, deleted_after: datetime, scope: Scope = None
    ) -> VMListing:
        """Return a page of the matching VMs of a project.

        Deleted VMs are in it only if the query names their status and they were deleted after
        `deleted_after`.
        """
        # deleted VMs leave the list with time, without an event; all VMs would fill the cache
        if Status.DELETED not in query.statuses and request.page_size <= MAX_PAGE_SIZE:
            listing = self._read_cache.get_page(query, request, scope)
            if listing is not None:
                return listing
        return self._load_page(query, request, deleted_after, scope)

    def find_by_name(self, project: str, name: str) -> tuple[str | None, float | None]:
        """Return the id of the live VM with a name, if any, and the age of the inventory."""
        params = {"of_project": project, "of_name": name}
        with self._database.read() as connection:
            row = connection.execute(SELECT_NAME_HOLDER, params).one()
        return row.holder, _sync_age(row)

    def get_usage(self, project: str) -> ResourceUsage:
        """Return the resources that a project uses, as quotas count them."""
        with self._database.read() as connection:
            return quota_usage.get_usage(connection, project)

    def age_seconds(self) -> float | None:
        """Return the seconds since all changes were known; None before the first sync."""
        with self._database.read() as connection:
            return _sync_age(connection.execute(SELECT_CLOCKS).one())

    def list_duplicates(self, window: CreateWindow) -> list[DuplicateVM]:
        """Return the duplicate VMs, after creates that timed out have adopted theirs."""
        with self._database.write() as connection:
            duplicates.adopt(connection, window)
            return duplicates.find_duplicates(connection, window)

    def find_created_by(self, operation_id: str) -> str | None:
        """Return the id of a VM with the tag of a create, live or deleted, or None."""
        query = select(vms.c.id).where(vms.c.operation_id == operation_id).limit(1)
        with self._database.read() as connection:
            vm_id: str | None = connection.execute(query).scalar()
        return vm_id

    def latest_update(self) -> datetime | None:
        """Return the newest `updated_at` on the cloud's clock; None without VMs."""
        query = select(func.max(vms.c.updated_at))
        with self._database.read() as connection:
            updated_at: datetime | None = connection.execute(query).scalar()
        return updated_at

    def mark_changes_synced(self, started_at: int) -> None:
        """Save that all changes up to a time are known."""
        self._save_sync_mark(CHANGES, started_at)

    def mark_full_sync(self, started_at: int) -> None:
        """Save that a full sync started at a time."""
        self._save_sync_mark(EVERYTHING, started_at)

    def seconds_since_full_sync(self) -> float | None:
        """Return the seconds since the start of the last full sync; None before the first."""
        age = db_now() - sql_past_time(sync_state.c.started_at)
        query = select(age).where(sync_state.c.kind == EVERYTHING)
        with self._database.read() as connection:
            microseconds = connection.execute(query).scalar()
        return None if microseconds is None else to_seconds(microseconds)

    def purge_deleted(self, until: datetime) -> int:
        """Delete the rows and the names of VMs that were deleted before a time.

        Returns the number of VMs.
        """
        with self._database.write() as connection:
            connection.execute(RELEASE_NAMES_OF_DELETED, {"until": until})
            return connection.execute(vms.delete().where(vms.c.deleted_at < until)).rowcount

    def _load_vms(self, vm_ids: Sequence[str]) -> dict[str, StoredVM]:
        with self._database.read() as connection:
            rows = connection.execute(SELECT_LIVE_VMS_BY_IDS, {"ids": vm_ids}).all()
        return {
            row.id: StoredVM(vm_mapper.from_row(row), row.revision, row.observation_started_at)
            for row in rows
        }

    def _load_index(self) -> VMIndex:
        with self._database.read() as connection:
            return VMIndex(connection.execute(SELECT_INDEXED_VMS))

    def _load_page(
        self, query: VMQuery, request: PageRequest, deleted_after: datetime, scope: Scope
    ) -> VMListing:
        filters = statements.build_filters(query, deleted_after, scope)
        with self._database.snapshot() as connection:
            count = select(func.count()).select_from(vms).where(*filters)
            total = request.after.total if request.after else connection.execute(count).scalar_one()
            page = statements.select_page(query.sort, filters, request)
            rows = connection.execute(page).all()
            clocks = connection.execute(SELECT_CLOCKS).one()
        items = [vm_mapper.from_row(row) for row in rows[: request.page_size]]
        has_more = len(rows) > len(items)
        position = statements.position_of(query.sort, items[-1], total) if has_more else None
        return VMListing(Page(items, total, request, position), _sync_age(clocks))

    def _save_sync_mark(self, kind: str, started_at: int) -> None:
        # not durable: after a power failure the older mark makes the next sync reach further back,
        # and readers see a higher age; commits stay in order, so no mark outlives its observations
        with self._database.write(durable=False) as connection:
            is_kind = sync_state.c.kind == kind
            times = {"started_at": started_at, "finished_at": db_now()}
            update = sync_state.update().where(is_kind).values(times)
            if not connection.execute(update).rowcount:
                advisory_lock(connection, "sync_state")
                if connection.execute(select(sync_state.c.kind).where(is_kind)).first() is None:
                    connection.execute(sync_state.insert().values(kind=kind, **times))

    def _save_batch(self, batch: Sequence[VM], started_at: int) -> set[str]:
        """Save a batch. One VM that cannot be stored is logged and left out.

        The poison is found by halving the batch, so that the other VMs are saved.
        """
        try:
            return self._apply(batch, started_at)
        except StoreUnavailable:
            raise
        except Exception as error:
            if len(batch) == 1:
                reason = str(getattr(error, "orig", error))
                log.error("VM cannot be stored", vm_id=batch[0].id, reason=reason)
                return set()
        middle = len(batch) // 2
        halves = (batch[:middle], batch[middle:])
        return set().union(*(self._save_batch(half, started_at) for half in halves))

    def _apply(self, batch: Sequence[VM], started_at: int) -> set[str]:
        applied: set[str] = set()
        while batch:
            with self._database.write() as connection:
                result = observations.apply(connection, Observation(started_at, batch))
            applied |= result.ids
            batch = result.late_vms
        return applied


def _sync_age(row: Any) -> float | None:
    return to_seconds(row.now - row.synced_at) if row.synced_at else None
