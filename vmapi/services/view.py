"""VMs as the API shows them: from the inventory, or as the cloud has them now."""

from dataclasses import replace

from vmapi.backends.base import Backend
from vmapi.errors import BackendFailure, VMNotFound
from vmapi.models.lifecycle import Action, Status
from vmapi.models.operation import Operation
from vmapi.models.page import Page, Paging, VMQuery
from vmapi.models.vm import VM
from vmapi.services.looks import Looks
from vmapi.store.store import Store


class View:
    """Asks the cloud where a client wants that, and where asking costs nothing."""

    def __init__(self, backend: Backend, store: Store, looks: Looks) -> None:
        self._instant = backend.instant
        self._store = store
        self._looks = looks

    def get(self, vm_id: str, *, fresh: bool = False) -> VM:
        """Return a VM, `fresh` as it is in the cloud now. Raises VMNotFound."""
        known = None
        if not (fresh or self._instant):
            known = self._store.inventory.get(vm_id)
        if known is None:
            self._looks.at(vm_id)
            known = self._store.inventory.get(vm_id)
        if known is None:
            raise VMNotFound("The VM has just been deleted.")
        return known

    def find(self, query: VMQuery, paging: Paging, *, fresh: bool = False) -> Page[VM]:
        """Return a page of the VMs that are asked for."""
        if fresh or self._instant or not self._store.inventory.complete():
            self._looks.everything()
        return self._store.inventory.find(query, paging)

    def last_seen(self, before: VM) -> VM:
        """Return a VM as it is now, or as it was before while it cannot be read."""
        try:
            return self.get(before.id, fresh=True)
        except (VMNotFound, BackendFailure):
            return before


def during(vm: VM, operation: Operation) -> VM:
    """Return a VM with what is under way laid over it."""
    building = operation.action is Action.CREATE
    status = Status.BUILDING if building else vm.status
    return replace(vm, status=status, task=operation.action.task)
