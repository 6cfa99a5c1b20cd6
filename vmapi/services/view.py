"""VMs as the API shows them: from the inventory, or as the cloud has them now."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from vmapi.backends.base import Backend
from vmapi.errors import BackendFailure, VMNotFound
from vmapi.models.lifecycle import Action, Status
from vmapi.models.operation import Operation
from vmapi.models.page import Paging, VMQuery
from vmapi.models.sighting import Listing, Sighting
from vmapi.models.vm import VM
from vmapi.services.looks import Looks
from vmapi.store.store import Store

EVERY = 2**31 - 1


REMEMBERED = timedelta(hours=24)
"""How long a deleted VM is listed."""

STALE = 10.0
"""Seconds: what is older than that is not kept true by anybody, and the cloud is asked."""


class View:
    """Asks the cloud where a client wants that, or nobody else does, or it costs nothing."""

    def __init__(
        self, backend: Backend, store: Store, looks: Looks, clock: Callable[[], datetime]
    ) -> None:
        self._instant = backend.instant
        self._store = store
        self._looks = looks
        self._clock = clock

    def get(self, vm_id: str, *, fresh: bool = False) -> Sighting:
        """Return a VM, `fresh` as it is in the cloud now. Raises VMNotFound."""
        fresh = fresh or self._instant
        known = None if fresh else self._store.inventory.get(vm_id)
        if known is None or (known.age > STALE and not self._looks.away):
            try:
                self._looks.at(vm_id)
            except BackendFailure:
                if known is None:
                    raise
                return known
            known = self._store.inventory.get(vm_id)
        if known is None:
            raise VMNotFound("The VM has just been deleted.")
        return known

    def find(self, query: VMQuery, paging: Paging, *, fresh: bool = False) -> Listing:
        """Return a page of the VMs that are asked for."""
        fresh = fresh or self._instant
        since = self._clock() - REMEMBERED
        if not fresh:
            found = self._store.inventory.find(query, paging, since)
            if found.age <= STALE or self._looks.away:
                return found
        self._looks.everything()
        return self._store.inventory.find(query, paging, since)

    def all(self, query: VMQuery) -> Sequence[VM]:
        """Return all VMs that are asked for."""
        return self.find(query, Paging(1, EVERY)).vms

    def after(self, operation: Operation, before: VM) -> VM:
        """Return a VM after an operation has begun, as far as can be told without a needless look.

        `before` is what it was.
        """
        shown = before if operation.finished else _during(operation, before)
        if not (operation.finished or self._instant):
            return shown
        # how a change of name or metadata has ended is seen only by who looks
        return self._last(shown, fresh=operation.action is Action.UPDATE)

    def last_seen(self, before: VM) -> VM:
        """Return a VM as it is now, or as it was before while it cannot be read."""
        return self._last(before, fresh=True)

    def _last(self, before: VM, *, fresh: bool) -> VM:
        try:
            return self.get(before.id, fresh=fresh).vm
        except (VMNotFound, BackendFailure):
            return before


def _during(operation: Operation, before: VM) -> VM:
    building = operation.action is Action.CREATE
    status = Status.BUILDING if building else before.status
    return replace(before, status=status, task=operation.action.task)
