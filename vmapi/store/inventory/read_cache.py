"""Cache of reads of the inventory, valid while the database shows no change.

SQLite says for the price of a memory access whether another connection has committed: `PRAGMA
data_version`. After a commit, the event log names the changed VMs, since every visible change of a
VM is written together with an event. Other databases have no such test: there nothing is cached.

Invariants: an entry is stored only if no commit was seen between its read and the store. A reader
sees each commit that ended before its read, whichever process made it.
"""

import sqlite3
from collections.abc import Callable, Hashable, MutableMapping, Sequence
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Any, TypeVar

from cachetools import LRUCache, TTLCache
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from vmapi.concurrency.nonblocking import holding
from vmapi.domain.snapshot import VMListing, VMSnapshot
from vmapi.errors import StoreUnavailable
from vmapi.store.clock import past_time, sqlite_time
from vmapi.store.database import Database
from vmapi.store.inventory.age import to_seconds

MAX_CACHED_VMS = 5000
"""VMs that reads of one VM cache; the objects are shared with `VMCache`."""

MAX_CACHED_PAGE_ITEMS = 20_000
"""VMs in all cached pages together, with about 700 bytes of rendered JSON each."""

PAGE_TTL = 60.0
"""Seconds that a page is cached: the cursor of its `next` link expires a day later."""

MAX_EVENTS_READ = 1000
"""Events since the last read after which the cache is emptied instead."""

SELECT_SYNC_MARKS = "SELECT started_at FROM sync_state"
SELECT_NEWEST_EVENT = "SELECT coalesce(max(id), 0), '', '' FROM events"
SELECT_EVENTS = "SELECT id, kind, vm_id FROM events WHERE id >= ? ORDER BY id LIMIT ?"

MAX_CACHED_AGE = 5.0
"""Seconds. An older VM is read again: an observation without a change leaves no event."""

FILE_CHECK_INTERVAL = 0.1
"""Seconds between two checks that the file was neither deleted nor replaced."""

NO_VERSION = -1
"""The version of a database that cannot be read."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StoredVM:
    """A VM as read from its row."""

    snapshot: VMSnapshot
    observed_at: int
    """The start of the last observation, in microseconds since 1970."""


class NoReadCache:
    """Reads each VM and each page from the database."""

    def get_vm(
        self, vm_id: str, load: Callable[[str], StoredVM | None], *, is_current: bool = False
    ) -> VMSnapshot | None:
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
        self._pages: TTLCache[Hashable, VMListing] = TTLCache(
            MAX_CACHED_PAGE_ITEMS, PAGE_TTL, getsizeof=lambda listing: len(listing.vms) + 1
        )
        self._database = database
        self._lock = Lock()
        self._connection: Connection | None = None
        self._version = NO_VERSION
        self._newest_event_id = 0
        self._sync_marks: list[int] = []
        self._next_check_at = 0.0

    def get_vm(
        self, vm_id: str, load: Callable[[str], StoredVM | None], *, is_current: bool = False
    ) -> VMSnapshot | None:
        """Return a VM with its present age; load it if it is not cached.

        `is_current`: every change in the cloud is known, whatever the age.
        """
        stored, sync_marks = self._get(self._vms, vm_id, lambda: load(vm_id))
        if stored is None:
            return None
        age_seconds = _age_seconds([stored.observed_at, *sync_marks])
        if age_seconds > MAX_CACHED_AGE and not is_current:
            current = load(vm_id)
            return current.snapshot if current else None
        return VMSnapshot(stored.snapshot.vm, stored.snapshot.revision, age_seconds)

    def get_page(self, key: Hashable, load: Callable[[], VMListing]) -> VMListing:
        """Return a page with its present age; load it if it is not cached."""
        listing, sync_marks = self._get(self._pages, key, load)
        return VMListing(listing.page, _age_seconds(sync_marks) if sync_marks else None)

    def close(self) -> None:
        """Drop the entries and close the connection."""
        with self._lock:
            self._reset()

    def _get(
        self, entries: MutableMapping[Any, Any], key: Hashable, load: Callable[[], T]
    ) -> tuple[T, Sequence[int]]:
        """Return an entry, and the sync marks."""
        # another thread may hold it while it opens the database
        with holding(self._lock):
            version, entry = self._refresh(), entries.get(key)
            sync_marks = self._sync_marks
        if entry is None:
            entry = load()
            with self._lock:
                if entry is not None and version == self._version != NO_VERSION:
                    entries[key] = entry
        return entry, sync_marks

    def _refresh(self) -> int:
        """Drop the entries that commits have changed; return the version of the database."""
        try:
            connection = self._connection = self._connection or self._connect()
            if (now := monotonic()) >= self._next_check_at:
                self._database.check_files(connection)
                self._next_check_at = now + FILE_CHECK_INTERVAL
            driver_connection: Any = connection.connection.dbapi_connection
            (version,) = driver_connection.execute("PRAGMA data_version").fetchone()
            if version != self._version:
                self._read_changes(driver_connection)
                self._version = version
        except (sqlite3.Error, SQLAlchemyError, StoreUnavailable):
            # the query of the caller fails too, and says why
            self._reset()
        return self._version

    def _connect(self) -> Connection:
        """Open a connection for reads that never wait for a lock of the database."""
        connection = self._database.connect_detached()
        connection.exec_driver_sql("PRAGMA busy_timeout=0")
        return connection

    def _read_changes(self, connection: sqlite3.Connection) -> None:
        # the sync marks first: each is committed after its observations and their events
        sync_marks = connection.execute(SELECT_SYNC_MARKS).fetchall()
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
        self._sync_marks = [mark for (mark,) in sync_marks]

    def _reset(self) -> None:
        self._drop_entries()
        self._version, self._sync_marks, self._next_check_at = NO_VERSION, [], 0.0
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _drop_entries(self) -> None:
        self._vms.clear()
        self._pages.clear()


def _age_seconds(known_at: Sequence[int]) -> float:
    now = sqlite_time()
    return to_seconds(now - max(past_time(time, now) for time in known_at))
