"""Looking at the cloud: whatever is seen is kept in the inventory."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from math import inf

from vmapi.backends.base import Backend
from vmapi.errors import BackendFailure, VMNotFound
from vmapi.models.vm import VM
from vmapi.store.store import Store

PAUSE = 2.0
"""Seconds for which a cloud that did not answer is left alone by who need not ask it."""


class Looks:
    """The one way to read VMs from the cloud. `clock` tells the time in UTC."""

    def __init__(self, backend: Backend, store: Store, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._store = store
        self._clock = clock
        self._away_until = -inf

    @property
    def away(self) -> bool:
        """Whether the cloud did not answer a moment ago, and is left alone for another one."""
        return time.monotonic() < self._away_until

    def at(self, vm_id: str) -> VM:
        """Return a VM as the cloud has it now. Raises VMNotFound."""
        begun = self._store.inventory.begin()
        try:
            with self._watched():
                seen = self._backend.get(vm_id)
        except VMNotFound:
            self._store.inventory.gone(vm_id, self._clock(), begun)
            raise
        self._store.inventory.observe([seen], begun)
        return seen

    def missed(self, vm_id: str) -> None:
        """Keep that the cloud has just said it knows a VM no more."""
        self._store.inventory.gone(vm_id, self._clock(), self._store.inventory.begin())

    def changed(self, since: datetime) -> Sequence[VM]:
        """Return the VMs that have changed since a time of the cloud's clock."""
        begun = self._store.inventory.begin()
        with self._watched():
            seen = self._backend.changed(since)
        self._store.inventory.observe(seen, begun)
        return seen

    def everything(self) -> None:
        """Look at every VM; one that is not shown is looked at by itself before it counts as gone.

        So a list that the cloud gives in part, because a cell is down, deletes nothing.
        """
        begun = self._store.inventory.begin()
        with self._watched():
            seen = self._backend.vms()
        self._store.inventory.observe(seen, begun)
        for vm_id in self._store.inventory.unseen(begun):
            try:
                self.at(vm_id)
            except VMNotFound:
                continue
        self._store.inventory.swept(begun)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except BackendFailure:
            self._away_until = time.monotonic() + PAUSE
            raise
