"""Fetch VMs from the cloud and save them in the inventory as observations.

Readers, the sync and the reconciler share one `CloudObserver`. Invariant: an observation is saved
with a start time that the database's clock showed before the cloud was called. The store uses it
to decide which of two observations is newer: see `vmapi.store.inventory.observations`.
"""

import threading
import time
from collections.abc import Callable, Sequence
from copy import copy
from datetime import datetime
from math import inf

import structlog

from vmapi.backends.base import Backend
from vmapi.concurrency.nonblocking import raise_if_nonblocking
from vmapi.domain.vm import VM
from vmapi.errors import BackendError, BackendFailure, BackendTimeout, VmapiError, VMNotFound
from vmapi.store.store import Store

log = structlog.get_logger("vmapi.inventory")

FEED_TIMEOUT = 2.0
"""Seconds that a reader waits while another thread saves changes of the feed."""

MAX_FETCH_ATTEMPTS = 3
"""How often a VM is fetched while newer observations of others overtake each result."""


class CloudObserver:
    """Fetches VMs from the cloud and saves them in the inventory. `clock` returns UTC."""

    def __init__(self, backend: Backend, store: Store, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._store = store
        self._clock = clock
        self._full_sync_lock = threading.Lock()
        self._last_full_sync_at = -inf
        self._feed_lock = threading.Lock()
        self._feed_position: int | None = None
        self._last_failure: BackendFailure | None = None
        self._last_failure_at = -inf

    def fetch(self, vm_id: str) -> VM:
        """Fetch one VM from the cloud and save it.

        Raises VMNotFound and marks the VM as deleted, unless the cloud may only hide it.
        """
        if self.read_change_feed():
            return self._backend.get_vm(vm_id)
        return self._fetch(vm_id)

    def _fetch(self, vm_id: str) -> VM:
        """Fetch one VM without the change feed, which a full sync may be reading. As `fetch`."""
        for _ in range(MAX_FETCH_ATTEMPTS):
            started_at = self._store.inventory.observation_time()
            try:
                vm = self._backend.get_vm(vm_id)
            except VMNotFound as error:
                if not error.hidden:
                    self.mark_gone(vm_id)
                raise
            if self._store.inventory.save_observations([vm], started_at):
                break
        return vm

    def mark_gone(self, vm_id: str) -> None:
        """Save that the cloud has responded just now that a VM does not exist."""
        inventory = self._store.inventory
        inventory.mark_deleted(vm_id, self._clock(), inventory.observation_time())

    def fetch_changed(self, since: datetime, started_at: int | None = None) -> Sequence[VM]:
        """Fetch the VMs that changed since a time of the cloud's clock, and save them.

        Return only those for which no newer observation is known. `started_at` is the start of the
        poll on the database's clock, where the caller has read it.
        """
        if started_at is None:
            started_at = self._store.inventory.observation_time()
        vms = self._backend.list_changed_since(since)
        saved_ids = self._store.inventory.save_observations(vms, started_at)
        return [vm for vm in vms if vm.id in saved_ids]

    def read_change_feed(self) -> bool:
        """Save the changes since the last call, where the cloud has a change feed.

        Returns False where it has none. Afterwards the inventory is as current as the cloud. Raises
        BackendTimeout if another thread is still saving changes.
        """
        if not self._backend.has_change_feed:
            return False
        position = self._feed_position
        if self._backend.list_changes_after(position).position == position:
            return True
        raise_if_nonblocking()
        with self._backend.limit_waiting():
            if not self._feed_lock.acquire(timeout=FEED_TIMEOUT):
                raise BackendTimeout("The changes of the cloud are still being saved.")
            try:
                any(self._save_changes() for _ in range(MAX_FETCH_ATTEMPTS))
            finally:
                self._feed_lock.release()
        return True

    def _save_changes(self) -> bool:
        """Save the next change set; return False if a row is newer and may lack a change."""
        inventory = self._store.inventory
        started_at = inventory.observation_time()
        changes = self._backend.list_changes_after(self._feed_position)
        if not changes.is_complete:
            self.full_sync()
        elif changes.vms:
            saved_ids = inventory.save_observations(changes.vms, started_at)
            if len(saved_ids) < len(changes.vms):
                return False
        self._feed_position = changes.position
        return True

    def full_sync(self, timeout: float = -1) -> None:
        """List all VMs and save them, or wait for a full sync that began after this call.

        Raises BackendFailure; BackendTimeout after `timeout` seconds of waiting for another
        thread's full sync (-1: no limit).
        """
        self._backend.check_available()
        raise_if_nonblocking()
        with self._backend.limit_waiting():
            self._full_sync(timeout)

    def _full_sync(self, timeout: float) -> None:
        waiting_since = time.monotonic()
        if not self._full_sync_lock.acquire(timeout=timeout):
            raise BackendTimeout("Another full sync with the cloud is still in progress.")
        try:
            if self._last_failure is not None and self._last_failure_at > waiting_since:
                # a thread that has waited for a failure does not wait for the next one
                raise copy(self._last_failure)
            if self._last_full_sync_at <= waiting_since:
                self._list_all_once()
        finally:
            self._full_sync_lock.release()

    def _list_all_once(self) -> None:
        started_at = time.monotonic()
        try:
            self._list_all()
        except BackendFailure as error:
            self._last_failure, self._last_failure_at = error, time.monotonic()
            raise
        self._last_full_sync_at = started_at

    def _list_all(self) -> None:
        """List all VMs; fetch each missing one before it counts as deleted.

        So an incomplete list, for example while a Nova cell is down, deletes nothing.
        """
        inventory = self._store.inventory
        started_at = inventory.observation_time()
        vms = self._backend.list_vms()
        inventory.save_observations(vms, started_at)
        listed_ids = {vm.id for vm in vms}
        for vm_id in inventory.ids_not_observed_since(started_at):
            if vm_id not in listed_ids:
                self._fetch_unlisted(vm_id)
        inventory.mark_full_sync(started_at)

    def _fetch_unlisted(self, vm_id: str) -> None:
        try:
            self._fetch(vm_id)
        except VMNotFound:
            pass
        except BackendError as error:
            # the cell of the VM may be down: the VM stays as last observed
            log.warning("VM cannot be read", vm_id=vm_id, reason=error.detail)
        except VmapiError:
            raise
        except Exception:
            # a defect that concerns one VM must not end the sync of all
            log.exception("VM cannot be read", vm_id=vm_id)
