"""Cache of reads of the inventory, valid while the database shows no change.

Each read begins with a check: has anything been committed? `changes` says how.
A changed VM is replaced, and all others stay. Lists are read from the index of the live VMs, so
that no change makes a list cost a query.

Invariants: a read sees each commit that ended before it, whichever process made it. A VM that is
read from its row is stored only if no change of a VM was applied during the read, and only while
the reader of the changes is settled. All VMs of a page come from one state of the database. No
other read waits while the index loads.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import is_
from threading import Lock
from time import monotonic

from cachetools import TTLCache

from vmapi.concurrency.nonblocking import holding, raise_if_nonblocking
from vmapi.domain.access.project import Scope
from vmapi.domain.pagination import Page, PageRequest
from vmapi.domain.snapshot import VMListing, VMSnapshot
from vmapi.domain.vm import VM, VMQuery
from vmapi.store.database import Database
from vmapi.store.inventory.change_checker import ChangeChecker
from vmapi.store.inventory.changes import ChangedVM, ChangeReader, Changes, Clocks
from vmapi.store.inventory.statements import position_of
from vmapi.store.inventory.vm_index import VMIndex
from vmapi.store.inventory.vm_view import IndexedVM

MAX_CACHED_VMS = 5000
"""VMs with all their fields, of about three kilobytes each, and as much JSON as clients read."""

MAX_CACHED_PAGE_ITEMS = 20_000
"""VMs in all cached pages together, with about two kilobytes each, of which 700 bytes are JSON."""

PAGE_TTL = 60.0
"""Seconds that a page is cached: the cursor of its `next` link expires a day later."""

MAX_CACHED_AGE = 5.0
"""Seconds. An older VM is read again: an observation without a change leaves no event."""

MAX_PAGE_ATTEMPTS = 3
"""How often a page is read while its VMs change."""

PageKey = tuple[VMQuery, PageRequest, Scope]


@dataclass(frozen=True, slots=True)
class StoredVM:
    """A VM as read from its row."""

    vm: VM
    revision: int
    observed_at: int
    """The start of the last observation, in microseconds since 1970."""


@dataclass(slots=True)
class CachedPage:
    """A page, and the number of changes that it shows."""

    page: Page[VM]
    change_count: int


class ReadCache:
    """The VMs and pages that one process has read. Thread-safe.

    `load_vms` reads live VMs by id from their rows, and `load_index` the columns of all live VMs.
    """

    def __init__(
        self,
        database: Database,
        reader: ChangeReader,
        load_vms: Callable[[Sequence[str]], Mapping[str, StoredVM]],
        load_index: Callable[[], VMIndex],
    ) -> None:
        self._reader = reader
        self._checker = ChangeChecker(database, reader, self._apply)
        self._load_vms = load_vms
        self._load_index = load_index
        self._lock = Lock()
        # the oldest entry first
        self._vms: OrderedDict[str, StoredVM] = OrderedDict()
        self._index: VMIndex | None = None
        # the changes since an index began to load; None if it can no longer be used
        self._changes_while_loading: dict[str, IndexedVM | None] | None = None
        self._loading = Lock()
        self._pages: TTLCache[PageKey, CachedPage] = TTLCache(
            MAX_CACHED_PAGE_ITEMS, PAGE_TTL, getsizeof=lambda cached: len(cached.page.items) + 1
        )
        self._change_count = 0

    def get_vm(self, vm_id: str, *, is_current: bool = False) -> VMSnapshot | None:
        """Return a live VM with its present age.

        `is_current`: every change in the cloud is known, whatever the age.
        """
        self._checker.check()
        clocks = self._checker.clocks
        stored = self._vms.get(vm_id)
        if stored is None or not (is_current or _age_seconds(stored, clocks) <= MAX_CACHED_AGE):
            started_at = monotonic()
            stored = self._read_vms([vm_id]).get(vm_id)
            # a slow read may return an observation that began after the check
            clocks = clocks.after(monotonic() - started_at)
        if stored is None:
            return None
        return VMSnapshot(stored.vm, stored.revision, _age_seconds(stored, clocks))

    def get_vms(self, vm_ids: Sequence[str]) -> dict[str, VM]:
        """Return the live VMs among these ids, by id."""
        self._checker.check()
        cached = {vm_id: vm for vm_id in vm_ids if (vm := self._vms.get(vm_id)) is not None}
        missing_ids = [vm_id for vm_id in vm_ids if vm_id not in cached]
        loaded = self._read_vms(missing_ids) if missing_ids else {}
        return {vm_id: stored.vm for vm_id, stored in {**cached, **loaded}.items()}

    def get_page(self, query: VMQuery, request: PageRequest, scope: Scope) -> VMListing | None:
        """Return a page of live VMs; None if a query has to read it."""
        loaded: Mapping[str, StoredVM] = {}
        for _ in range(MAX_PAGE_ATTEMPTS):
            if not self._check_with_index():
                return None
            clocks = self._checker.clocks
            with holding(self._lock):
                # another thread may have dropped it
                if self._index is None:
                    return None
                page, missing_ids = self._find_page((query, request, scope), loaded)
            if page is not None:
                return VMListing(page, clocks.age_seconds())
            # the rows may be newer than the index: the next check reads their changes
            loaded = self._read_vms(missing_ids)
        return None

    def close(self) -> None:
        """Close the connection."""
        self._checker.close()

    def _check_with_index(self) -> bool:
        """Check for changes; return whether the index shows them."""
        self._checker.check()
        if self._index is None:
            self._build_index()
        return self._index is not None

    def _build_index(self) -> None:
        """Load the index if it can be used, unless another thread does.

        Raises WouldBlock in a thread that must not wait.
        """
        raise_if_nonblocking()
        if not self._loading.acquire(blocking=False):
            return
        try:
            if self._begin_load():
                index = self._load_index()
                # the rows may be newer than the changes since the load began
                self._checker.check()
                self._store_index(index)
        finally:
            with self._lock:
                self._changes_while_loading = None
            self._loading.release()

    def _begin_load(self) -> bool:
        """Collect changes for an index from here on; return False if it is not to be loaded."""
        with self._lock:
            begins = self._index is None and self._reader.is_settled
            self._changes_while_loading = {} if begins else None
        return begins

    def _store_index(self, index: VMIndex) -> None:
        """Store an index with the changes since its load began, unless some are unknown."""
        with self._lock:
            if self._changes_while_loading is not None:
                index.replace(self._changes_while_loading)
                self._index = index

    def _read_vms(self, vm_ids: Sequence[str]) -> Mapping[str, StoredVM]:
        """Read VMs from their rows, and store them."""
        # the count first: a drop in between then shows in it
        change_count, is_settled = self._change_count, self._reader.is_settled
        loaded = self._load_vms(vm_ids)
        with self._lock:
            if is_settled and change_count == self._change_count:
                self._store_vms(loaded)
        return loaded

    def _store_vms(self, vms: Mapping[str, StoredVM]) -> None:
        for vm_id, vm in vms.items():
            self._vms[vm_id] = vm
            self._vms.move_to_end(vm_id)
        while len(self._vms) > MAX_CACHED_VMS:
            self._vms.popitem(last=False)

    def _find_page(
        self, key: PageKey, loaded: Mapping[str, StoredVM]
    ) -> tuple[Page[VM] | None, Sequence[str]]:
        """Return a page, or the ids of its VMs to read first."""
        cached = self._pages.get(key)
        if cached is not None and cached.change_count == self._change_count:
            return cached.page, ()
        assert self._index is not None
        query, request, scope = key
        rows, total = self._index.find(query, request, scope)
        shown = rows[: request.page_size]
        stored = [self._vms.get(row.id) or loaded.get(row.id) for row in shown]
        pairs = zip(shown, stored, strict=True)
        if ids := [row.id for row, vm in pairs if vm is None or vm.revision != row.revision]:
            return None, ids
        items = [vm.vm for vm in stored if vm is not None]
        total = request.after.total if request.after else total
        has_more = len(rows) > len(shown)
        position = position_of(query.sort, items[-1], total) if has_more else None
        page = Page(items, total, request, position)
        if cached is not None and _are_same(page, cached.page):
            # its JSON is rendered already
            cached.change_count = self._change_count
            return cached.page, ()
        self._pages[key] = CachedPage(page, self._change_count)
        return page, ()

    def _apply(self, read_changes: Callable[[], Changes | None]) -> None:
        with holding(self._lock):
            try:
                changes = read_changes()
                if changes is None:
                    self._drop_entries()
                elif changes:
                    self._merge(changes)
            except Exception:
                self._drop_entries()
                raise

    def _merge(self, changes: Changes) -> None:
        self._change_count += 1
        decoded = {vm_id: _decode(changed) for vm_id, changed in changes.items()}
        for vm_id, stored in decoded.items():
            if stored is None:
                self._vms.pop(vm_id, None)
        self._store_vms({vm_id: vm for vm_id, vm in decoded.items() if vm is not None})
        indexed = {vm_id: changed and changed.indexed for vm_id, changed in changes.items()}
        if self._index is not None:
            self._index.replace(indexed)
        if self._changes_while_loading is not None:
            self._changes_while_loading |= indexed

    def _drop_entries(self) -> None:
        self._change_count += 1
        self._index = self._changes_while_loading = None
        self._vms.clear()
        self._pages.clear()


def _age_seconds(stored: StoredVM, clocks: Clocks) -> float:
    return clocks.age_seconds(stored.observed_at) or 0.0


def _decode(changed: ChangedVM | None) -> StoredVM | None:
    """Return a VM; None for a deleted one, and for one that its own reads have to report."""
    if changed is None:
        return None
    try:
        vm = changed.decode()
    except (LookupError, TypeError, ValueError):
        return None
    return StoredVM(vm, changed.indexed.revision, changed.observation_started_at)


def _are_same(page: Page[VM], other: Page[VM]) -> bool:
    return (
        (page.total, page.next_position) == (other.total, other.next_position)
        and len(page.items) == len(other.items)
        and all(map(is_, page.items, other.items))
    )
