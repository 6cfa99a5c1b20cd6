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
from typing import TYPE_CHECKING

import structlog

from vmapi.backends.base import Backend
from vmapi.concurrency.nonblocking import raise_if_nonblocking
from vmapi.domain.observation import Observation
from vmapi.domain.operation import Operation
from vmapi.domain.vm import VM
from vmapi.errors import BackendError, BackendFailure, BackendTimeout, VmapiError, VMNotFound
from vmapi.services.inventory.change_feed import ChangeFeedReader
from vmapi.store.store import Store
from vmapi.telemetry.operator_text import operator_text

if TYPE_CHECKING:
    from vmapi.store.operations.saving import SavedOperation

log = structlog.get_logger("vmapi.inventory")

MAX_FETCH_ATTEMPTS = 3
"""How often a VM is fetched while newer observations of others overtake each result."""


class CloudObserver:
    """Fetches VMs from the cloud and saves them in the inventory. `clock` returns UTC."""

    def __init__(self, backend: Backend, store: Store, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._store = store
        self._clock = clock
        self._feed = ChangeFeedReader(backend, store, self.full_sync)
        self._full_sync_lock = threading.Lock()
        self._last_full_sync_at = -inf
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
                    inventory = self._store.inventory
                    inventory.mark_deleted(vm_id, self._clock(), inventory.observation_time())
                raise
            if self._store.inventory.save_observations([vm], started_at):
                break
        return vm

    def observe(self, vm_id: str) -> Observation:
        """Fetch one VM from the cloud for `save_operation`. Raises VMNotFound."""
        started_at = self._observation_time()
        return Observation(started_at, (self._backend.get_vm(vm_id),))

    def observe_gone(self, vm_id: str) -> Observation:
        """Return the observation that the cloud has just denied that a VM exists."""
        return Observation(self._observation_time(), gone_vm_id=vm_id)

    def save_operation(
        self, operation: Operation, observation: Observation | None, expected_vm: VM | None = None
    ) -> "SavedOperation":
        """Save an operation together with an observation of its VM.

        The changes of a change feed replace the observation. Raises OperationRevisionConflict.
        """

        def save(latest: Observation | None) -> "SavedOperation":
            return self._store.operations.save(operation, latest, expected_vm=expected_vm)

        if observation is None or not self._backend.has_change_feed:
            return save(observation)
        return self._feed.save_with_changes(save)

    def _observation_time(self) -> int:
        # the feed reads the time when it reads the changes
        return 0 if self._backend.has_change_feed else self._store.inventory.observation_time()

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
        StoreUnavailable if the changes cannot be saved in time.
        """
        return self._feed.read()

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
            log.warning("VM cannot be read", vm_id=vm_id, reason=operator_text(error))
        except VmapiError:
            raise
        except Exception:
            # a defect that concerns one VM must not end the sync of all
            log.exception("VM cannot be read", vm_id=vm_id)
