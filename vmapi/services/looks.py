"""Looking at the cloud: whatever is seen is kept in the inventory."""

from collections.abc import Callable, Sequence
from datetime import datetime

from vmapi.backends.base import Backend
from vmapi.errors import VMNotFound
from vmapi.models.vm import VM
from vmapi.store.store import Store


class Looks:
    """The one way to read VMs from the cloud. `clock` tells the time in UTC."""

    def __init__(self, backend: Backend, store: Store, clock: Callable[[], datetime]) -> None:
        self._backend = backend
        self._store = store
        self._clock = clock

    def at(self, vm_id: str) -> VM:
        """Return a VM as the cloud has it now. Raises VMNotFound."""
        begun = self._store.inventory.begin()
        try:
            seen = self._backend.get(vm_id)
        except VMNotFound:
            self._store.inventory.gone(vm_id, self._clock(), begun)
            raise
        self._store.inventory.observe([seen], begun)
        return seen

    def changed(self, since: datetime) -> Sequence[VM]:
        """Return the VMs that have changed since a time of the cloud's clock."""
        begun = self._store.inventory.begin()
        seen = self._backend.changed(since)
        self._store.inventory.observe(seen, begun)
        return seen

    def everything(self) -> None:
        """Look at every VM; one that is not shown is looked at by itself before it counts as gone.

        So a list that the cloud gives in part, because a cell is down, deletes nothing.
        """
        begun = self._store.inventory.begin()
        self._store.inventory.observe(self._backend.vms(), begun)
        for vm_id in self._store.inventory.unseen(begun):
            try:
                self.at(vm_id)
            except VMNotFound:
                continue
        self._store.inventory.swept(begun)
