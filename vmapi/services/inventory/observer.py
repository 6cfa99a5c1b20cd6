"""Looking at the cloud: whatever is seen is kept in the inventory."""

import threading
import time
from collections.abc import Callable, Sequence
from copy import copy
from datetime import datetime
from math import inf

import structlog

from vmapi.backends.base import Backend
from vmapi.domain.vm import VM
from vmapi.errors import BackendError, BackendFailure, BackendTimeout, VMNotFound
from vmapi.store.store import Store

log = structlog.get_logger("vmapi.looks")

MAX_FETCH_ATTEMPTS = 3
"""How often a VM is looked at while others that look at it say that they were later."""


class CloudObserver:
    """The one way to read VMs from the cloud. `clock` tells the time in UTC."""

    def __init__(self, backend: Backend, store: Store, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._store = store
        self._clock = clock
        self._full_sync_lock = threading.Lock()
        self._last_full_sync = 0
        self._last_failure: BackendFailure | None = None
        self._last_failure_at = -inf

    def fetch(self, vm_id: str) -> VM:
        """Return a VM as the cloud has it now. Raises VMNotFound."""
        for _ in range(MAX_FETCH_ATTEMPTS):
            begun = self._store.inventory.observation_time()
            try:
                seen = self._backend.get_vm(vm_id)
            except VMNotFound as unknown:
                if not unknown.hidden:
                    self.mark_gone(vm_id)
                raise
            if self._store.inventory.save_observations([seen], begun):
                break
        return seen

    def mark_gone(self, vm_id: str) -> None:
        """Keep that the cloud has just said it knows a VM no more."""
        self._store.inventory.mark_deleted(
            vm_id, self._clock(), self._store.inventory.observation_time()
        )

    def fetch_changed(self, since: datetime) -> Sequence[VM]:
        """Return the VMs that have changed since a time of the cloud's clock.

        Those of which something later is known already are left out.
        """
        begun = self._store.inventory.observation_time()
        seen = self._backend.list_changed_since(since)
        kept = self._store.inventory.save_observations(seen, begun)
        return [vm for vm in seen if vm.id in kept]

    def full_sync(self, timeout: float = -1) -> None:
        """Look at every VM, or let another thread's look do that began after this was asked.

        Raises BackendTimeout when for so many seconds it was another one's turn.
        """
        self._backend.check_available()
        asked, came = self._store.inventory.observation_time(), time.monotonic()
        if not self._full_sync_lock.acquire(timeout=timeout):
            raise BackendTimeout("Another look at the cloud has no answer yet.")
        try:
            if self._last_failure is not None and self._last_failure_at > came:
                # who waited for it need not wait for the same once more
                raise copy(self._last_failure)
            if self._last_full_sync <= asked:
                self._last_full_sync = self._list_all()
        except BackendFailure as error:
            self._last_failure, self._last_failure_at = error, time.monotonic()
            raise
        finally:
            self._full_sync_lock.release()

    def _list_all(self) -> int:
        """Look at every VM; one that is not shown is looked at by itself before it counts as gone.

        So a list that the cloud gives in part, because a cell is down, deletes nothing.
        """
        begun = self._store.inventory.observation_time()
        seen = self._backend.list_vms()
        self._store.inventory.save_observations(seen, begun)
        shown = {vm.id for vm in seen}
        for vm_id in self._store.inventory.ids_not_observed_since(begun):
            if vm_id in shown:
                continue
            try:
                self.fetch(vm_id)
            except VMNotFound:
                continue
            except BackendError as error:
                # of one whose cell is down the cloud can tell nothing: it stays as it was
                log.warning("a VM cannot be read", vm_id=vm_id, reason=error.detail)
        self._store.inventory.mark_full_sync(begun)
        return begun
