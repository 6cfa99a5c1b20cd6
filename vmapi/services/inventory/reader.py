"""VMs as the API shows them: from the inventory, or as the cloud has them now."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from vmapi.backends.base import Backend
from vmapi.domain.lifecycle import GOALS, Action, Status, Verb
from vmapi.domain.operation import Operation, OperationStatus
from vmapi.domain.pagination import Paging, VMQuery
from vmapi.domain.project import Scope
from vmapi.domain.snapshot import Listing, Sighting
from vmapi.domain.vm import VM, Changes
from vmapi.errors import BackendFailure, StoreUnavailable, VMNotFound
from vmapi.services.inventory.observer import Looks
from vmapi.services.maintenance import REMEMBERED
from vmapi.services.timeouts import at_most
from vmapi.store.store import Store

EVERY = Paging(1, 2**31 - 1)

NO_VM = "There is no VM of this id."

STALE = 10.0
"""Seconds: what is older than that nobody keeps true, and the cloud is asked."""

PATIENCE = 1.0
"""Seconds that a reader waits for a look where there is something older to show."""


class View:
    """Asks the cloud where a client wants that, where nobody else does, or where it costs nothing.

    While the cloud is away, what is known of it is shown all the same.
    """

    def __init__(
        self, backend: Backend, store: Store, looks: Looks, clock: Callable[[], datetime]
    ) -> None:
        self._backend = backend
        self._instant = backend.instant
        self._store = store
        self._looks = looks
        self._clock = clock

    def get(self, vm_id: str, scope: Scope, *, fresh: bool = False) -> Sighting:
        """Return a VM of a project, `fresh` as it is in the cloud now. Raises VMNotFound.

        For a VM of another project the cloud is asked as for one that nobody knows, and the answer
        is the same.
        """
        known = self._store.inventory.get(vm_id, scope)
        fresh = fresh or self._instant or known is None
        if not fresh and known is not None and not self._is_stale(known.age):
            return known
        with suppress(VMNotFound):
            try:
                if fresh:
                    self._looks.at(vm_id)
                else:
                    at_most(PATIENCE, lambda: self._looks.at(vm_id))
            except BackendFailure:
                if fresh or known is None:
                    raise
                return known
            if known := self._store.inventory.get(vm_id, scope):
                return known
        raise VMNotFound(NO_VM)

    def find(self, query: VMQuery, paging: Paging, scope: Scope, *, fresh: bool = False) -> Listing:
        """Return a page of the VMs of a project that are asked for."""
        since = self._clock() - REMEMBERED
        found = self._store.inventory.find(query, paging, since, scope)
        if not self.renew(found.age, fresh=fresh or self._instant):
            return found
        return self._store.inventory.find(query, paging, since, scope)

    def renew(self, age: float | None, *, fresh: bool = False) -> bool:
        """Look at everything if that is wanted, or was never done, or not for long.

        Return whether it was. Raises BackendFailure where what is known will not do.
        """
        fresh = fresh or age is None
        if not fresh and not self._is_stale(age or 0.0):
            return False
        try:
            if fresh:
                self._looks.everything()
            else:
                at_most(PATIENCE, lambda: self._looks.everything(PATIENCE))
        except BackendFailure:
            if fresh:
                raise
            return False
        return True

    def all(self, query: VMQuery, scope: Scope) -> Sequence[VM]:
        """Return all VMs of a project that are asked for."""
        return self.find(query, EVERY, scope).vms

    def after(self, operation: Operation, before: VM) -> Sighting:
        """Return a VM after an operation has begun, or ended, without a needless look.

        `before` is what it was. Raises BackendFailure when it can neither be read nor inferred.
        """
        if not operation.finished and not self._instant:
            return operation.shown or self._kept(before.id) or _inferred(_during(operation, before))
        try:
            # how a change of name or metadata has ended is seen only by who looks
            fresh = operation.action is Action.UPDATE
            return self.get(before.id, before.project, fresh=fresh)
        except (VMNotFound, BackendFailure):
            if not operation.finished:
                return _inferred(_during(operation, before))
            if operation.status is not OperationStatus.SUCCEEDED:
                raise
            return _inferred(_left(operation, before))

    def last_seen(self, before: VM) -> VM:
        """Return a VM as it is now, or as it was before while it cannot be read."""
        try:
            return self.get(before.id, before.project, fresh=True).vm
        except (VMNotFound, BackendFailure):
            return before

    def _kept(self, vm_id: str) -> Sighting | None:
        try:
            return self._store.inventory.get(vm_id)
        except StoreUnavailable:
            # the change was taken on, and its answer can do without
            return None

    def _is_stale(self, age: float) -> bool:
        return age > STALE and not self._backend.away


def _inferred(vm: VM) -> Sighting:
    return Sighting(vm, None, 0.0)


def _during(operation: Operation, before: VM) -> VM:
    building = operation.action is Action.CREATE
    status = Status.BUILDING if building else before.status
    return replace(before, status=status, task=operation.action.task)


def _left(operation: Operation, before: VM) -> VM:
    status = GOALS.get(operation.plan[-1].verb, before.status)
    if operation.plan[-1].verb is Verb.CREATE:
        status = Status.RUNNING
    changes = operation.changes or Changes()
    metadata = changes.applied_to(before.metadata)
    name = changes.name or before.name
    return replace(before, status=status, task=None, name=name, metadata=metadata)
