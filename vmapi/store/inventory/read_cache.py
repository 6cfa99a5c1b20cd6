"""Cache of reads of the inventory, valid while the database shows no change.

SQLite says for the price of a memory access whether another connection has committed: `PRAGMA
data_version`. After a commit, the event log names the changed VMs, since every visible change of a
VM is written together with an event. Other databases have no such test: there nothing is cached.

Invariants: an entry is stored only if no commit was seen between its read and the store. A reader
sees each commit that ended before its read, whichever process made it.
"""

import sqlite3
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock
from typing import Any, TypeVar

from cachetools import LRUCache
from sqlalchemy import Connection

from vmapi.domain.snapshot import VMListing, VMSnapshot
from vmapi.errors import StoreUnavailable
from vmapi.store.connections import epoch_us
from vmapi.store.database import Database
from vmapi.store.inventory.age import to_seconds

MAX_CACHED_VMS = 5000
"""VMs that reads of one VM cache; the objects are shared with `VMCache`."""

MAX_CACHED_PAGE_ITEMS = 20_000
"""VMs in all cached pages together, with about 700 bytes of rendered JSON each."""

MAX_EVENTS_READ = 1000
"""Events since the last read after which the cache is emptied instead."""

SELECT_SYNCED_AT = "SELECT max(started_at) FROM sync_state"
SELECT_NEWEST_EVENT = "SELECT coalesce(max(id), 0), '', '' FROM events"
SELECT_EVENTS = "SELECT id, kind, vm_id FROM events WHERE id >= ? ORDER BY id LIMIT ?"

MAX_CACHED_AGE = 5.0
"""Seconds. An older VM is read again: an observation without a change leaves no event."""

NO_VERSION = -1
"""The version of a database that cannot be read."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredVM:
    """A VM as read from its row."""

    snapshot: VMSnapshot
    known_at: int
    """The start of the last observation, in microseconds since 1970."""


class NoReadCache:
    """Reads each VM and each page from the database."""

    def get_vm(self, vm_id: str, load: Callable[[str], StoredVM | None]) -> VMSnapshot | None:
        """Load a VM."""
        stored = load(vm_id)
        return stored.snapshot if stored else None

    def get_page(self, key: Hashable, load: Callable[[], VMListing]) -> VMListing:
        """Load a page."""
        return load()

    def close(self) -> None:
        """Close nothing."""


class SqliteReadCache(NoReadCache):
    """The VMs and pages that one process has read from a SQLite file. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._vms: LRUCache[str, StoredVM] = LRUCache(MAX_CACHED_VMS)
        self._pages: LRUCache[Hashable, VMListing] = LRUCache(
            MAX_CACHED_PAGE_ITEMS, getsizeof=lambda listing: len(listing.vms) + 1
        )
        self._database = database
        self._lock = Lock()
        self._connection: Connection | None = None
        self._version = NO_VERSION
        self._newest_event_id = 0
        self._synced_at = 0

    def get_vm(self, vm_id: str, load: Callable[[str], StoredVM | None]) -> VMSnapshot | None:
        """Return a VM with its present age; load it if it is not cached."""
        stored, synced_at = self._get(self._vms, vm_id, lambda: load(vm_id))
        if stored is None:
            return None
        age_seconds = to_seconds(epoch_us() - max(stored.known_at, synced_at))
        if age_seconds > MAX_CACHED_AGE:
            current = load(vm_id)
            return current.snapshot if current else None
        return VMSnapshot(stored.snapshot.vm, stored.snapshot.revision, age_seconds)

    def get_page(self, key: Hashable, load: Callable[[], VMListing]) -> VMListing:
        """Return a page with its present age; load it if it is not cached."""
        listing, synced_at = self._get(self._pages, key, load)
        age_seconds = to_seconds(epoch_us() - synced_at) if synced_at else None
        return VMListing(listing.page, age_seconds)

    def close(self) -> None:
        """Drop the entries and close the connection."""
        with self._lock:
            self._reset()

    def _get(
        self, entries: LRUCache[Any, Any], key: Hashable, load: Callable[[], T]
    ) -> tuple[T, int]:
        """Return an entry, and the time of the last sync: 0 before the first one."""
        with self._lock:
            version, entry = self._refresh(), entries.get(key)
            synced_at = self._synced_at
        if entry is None:
            entry = load()
            with self._lock:
                if entry is not None and version == self._version != NO_VERSION:
                    entries[key] = entry
        return entry, synced_at

    def _refresh(self) -> int:
        """Drop the entries that commits have changed; return the version of the database."""
        try:
            connection = self._connection = self._connection or self._database.connect_detached()
            self._database.check_files(connection)
            driver_connection: Any = connection.connection.dbapi_connection
            (version,) = driver_connection.execute("PRAGMA data_version").fetchone()
            if version != self._version:
                self._read_changes(driver_connection)
                self._version = version
        except (sqlite3.Error, StoreUnavailable):
            # the query of the caller fails too, and says why
            self._reset()
        return self._version

    def _read_changes(self, connection: sqlite3.Connection) -> None:
        # the sync mark first: it is committed after its observations and their events
        synced_at = connection.execute(SELECT_SYNCED_AT).fetchone()[0]
        parameters = (self._newest_event_id, MAX_EVENTS_READ)
        rows = connection.execute(SELECT_EVENTS, parameters).fetchall()
        # without the event that was the newest, others may have been purged
        is_complete = bool(rows) and rows[0][0] == self._newest_event_id
        if not is_complete or len(rows) == MAX_EVENTS_READ:
            self._drop_entries()
            rows = connection.execute(SELECT_NEWEST_EVENT).fetchall()
        for _, kind, vm_id in rows[1:]:
            if kind.startswith("vm."):
                self._vms.pop(vm_id, None)
                self._pages.clear()
        self._newest_event_id = rows[-1][0]
        self._synced_at = synced_at or 0

    def _reset(self) -> None:
        self._drop_entries()
        self._version, self._synced_at = NO_VERSION, 0
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _drop_entries(self) -> None:
        self._vms.clear()
        self._pages.clear()
