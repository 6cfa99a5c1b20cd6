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

TRIES = 3
"""How often a VM is looked at while others that look at it say that they were later."""


class Looks:
    """The one way to read VMs from the cloud. `clock` tells the time in UTC."""

    def __init__(self, backend: Backend, store: Store, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._store = store
        self._clock = clock
        self._sweeping = threading.Lock()
        self._swept = 0
        self._broken: BackendFailure | None = None
        self._broken_at = -inf

    def at(self, vm_id: str) -> VM:
        """Return a VM as the cloud has it now. Raises VMNotFound."""
        for _ in range(TRIES):
            begun = self._store.inventory.begin()
            try:
                seen = self._backend.get(vm_id)
            except VMNotFound as unknown:
                if not unknown.hidden:
                    self.missed(vm_id)
                raise
            if self._store.inventory.observe([seen], begun):
                break
        return seen

    def missed(self, vm_id: str) -> None:
        """Keep that the cloud has just said it knows a VM no more."""
        self._store.inventory.gone(vm_id, self._clock(), self._store.inventory.begin())

    def changed(self, since: datetime) -> Sequence[VM]:
        """Return the VMs that have changed since a time of the cloud's clock.

        Those of which something later is known already are left out.
        """
        begun = self._store.inventory.begin()
        seen = self._backend.changed(since)
        kept = self._store.inventory.observe(seen, begun)
        return [vm for vm in seen if vm.id in kept]

    def everything(self, patience: float = -1) -> None:
        """Look at every VM, or let another thread's look do that began after this was asked.

        Raises BackendTimeout when for so many seconds it was another one's turn.
        """
        self._backend.ensure()
        asked, came = self._store.inventory.begin(), time.monotonic()
        if not self._sweeping.acquire(timeout=patience):
            raise BackendTimeout("Another look at the cloud has no answer yet.")
        try:
            if self._broken is not None and self._broken_at > came:
                # who waited for it need not wait for the same once more
                raise copy(self._broken)
            if self._swept <= asked:
                self._swept = self._sweep()
        except BackendFailure as error:
            self._broken, self._broken_at = error, time.monotonic()
            raise
        finally:
            self._sweeping.release()

    def _sweep(self) -> int:
        """Look at every VM; one that is not shown is looked at by itself before it counts as gone.

        So a list that the cloud gives in part, because a cell is down, deletes nothing.
        """
        begun = self._store.inventory.begin()
        seen = self._backend.vms()
        self._store.inventory.observe(seen, begun)
        shown = {vm.id for vm in seen}
        for vm_id in self._store.inventory.unseen(begun):
            if vm_id in shown:
                continue
            try:
                self.at(vm_id)
            except VMNotFound:
                continue
            except BackendError as error:
                # of one whose cell is down the cloud can tell nothing: it stays as it was
                log.warning("a VM cannot be read", vm_id=vm_id, reason=error.detail)
        self._store.inventory.swept(begun)
        return begun
