"""VMs as the API shows them: from the inventory, or as the cloud has them now."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from vmapi.backends.base import Backend
from vmapi.domain.lifecycle import TARGET_STATUS_BY_VERB, Action, Status, Verb
from vmapi.domain.operation import Operation, OperationStatus
from vmapi.domain.pagination import PageRequest
from vmapi.domain.project import Scope
from vmapi.domain.snapshot import VMListing, VMSnapshot
from vmapi.domain.vm import DELETED_VM_RETENTION, VM, VMPatch, VMQuery
from vmapi.errors import BackendFailure, StoreUnavailable, VMNotFound
from vmapi.services.inventory.observer import CloudObserver
from vmapi.services.timeouts import run_with_timeout
from vmapi.store.store import Store

ALL_VMS = PageRequest(1, 2**31 - 1)

VM_NOT_FOUND_DETAIL = "There is no VM of this id."

MAX_INVENTORY_AGE = 10.0
"""Seconds: what is older than that nobody keeps true, and the cloud is asked."""

READ_REFRESH_TIMEOUT = 1.0
"""Seconds that a reader waits for a look where there is something older to show."""


class InventoryReader:
    """Asks the cloud where a client wants that, where nobody else does, or where it costs nothing.

    While the cloud is away, what is known of it is shown all the same.
    """

    def __init__(
        self, backend: Backend, store: Store, observer: CloudObserver, clock: Callable[[], datetime]
    ) -> None:
        self._backend = backend
        self._completes_immediately = backend.completes_immediately
        self._store = store
        self._observer = observer
        self._clock = clock

    def get(self, vm_id: str, scope: Scope, *, refresh: bool = False) -> VMSnapshot:
        """Return a VM of a project, `fresh` as it is in the cloud now. Raises VMNotFound.

        For a VM of another project the cloud is asked as for one that nobody knows, and the answer
        is the same.
        """
        known = self._store.inventory.get(vm_id, scope)
        refresh = refresh or self._completes_immediately or known is None
        if not refresh and known is not None and not self._is_stale(known.age_seconds):
            return known
        with suppress(VMNotFound):
            try:
                if refresh:
                    self._observer.fetch(vm_id)
                else:
                    run_with_timeout(READ_REFRESH_TIMEOUT, lambda: self._observer.fetch(vm_id))
            except BackendFailure:
                if refresh or known is None:
                    raise
                return known
            if known := self._store.inventory.get(vm_id, scope):
                return known
        raise VMNotFound(VM_NOT_FOUND_DETAIL)

    def list_page(
        self, query: VMQuery, paging: PageRequest, scope: Scope, *, refresh: bool = False
    ) -> VMListing:
        """Return a page of the VMs of a project that are asked for."""
        since = self._clock() - DELETED_VM_RETENTION
        found = self._store.inventory.list_page(query, paging, since, scope)
        if not self.refresh_if_stale(
            found.age_seconds, refresh=refresh or self._completes_immediately
        ):
            return found
        return self._store.inventory.list_page(query, paging, since, scope)

    def refresh_if_stale(self, age: float | None, *, refresh: bool = False) -> bool:
        """Look at everything if that is wanted, or was never done, or not for long.

        Return whether it was. Raises BackendFailure where what is known will not do.
        """
        refresh = refresh or age is None
        if not refresh and not self._is_stale(age or 0.0):
            return False
        try:
            if refresh:
                self._observer.full_sync()
            else:
                run_with_timeout(
                    READ_REFRESH_TIMEOUT, lambda: self._observer.full_sync(READ_REFRESH_TIMEOUT)
                )
        except BackendFailure:
            if refresh:
                raise
            return False
        return True

    def list_all(self, query: VMQuery, scope: Scope) -> Sequence[VM]:
        """Return all VMs of a project that are asked for."""
        return self.list_page(query, ALL_VMS, scope).vms

    def snapshot_after(self, operation: Operation, previous_vm: VM) -> VMSnapshot:
        """Return a VM after an operation has begun, or ended, without a needless look.

        `before` is what it was. Raises BackendFailure when it can neither be read nor inferred.
        """
        if not operation.is_finished and not self._completes_immediately:
            return (
                operation.snapshot
                or self._cached(previous_vm.id)
                or _unversioned(_expected_during(operation, previous_vm))
            )
        try:
            # how a change of name or metadata has ended is seen only by who looks
            fresh = operation.action is Action.UPDATE
            return self.get(previous_vm.id, previous_vm.project, refresh=fresh)
        except (VMNotFound, BackendFailure):
            if not operation.is_finished:
                return _unversioned(_expected_during(operation, previous_vm))
            if operation.status is not OperationStatus.SUCCEEDED:
                raise
            return _unversioned(_expected_after(operation, previous_vm))

    def latest_or(self, previous_vm: VM) -> VM:
        """Return a VM as it is now, or as it was before while it cannot be read."""
        try:
            return self.get(previous_vm.id, previous_vm.project, refresh=True).vm
        except (VMNotFound, BackendFailure):
            return previous_vm

    def _cached(self, vm_id: str) -> VMSnapshot | None:
        try:
            return self._store.inventory.get(vm_id)
        except StoreUnavailable:
            # the change was taken on, and its answer can do without
            return None

    def _is_stale(self, age: float) -> bool:
        return age > MAX_INVENTORY_AGE and not self._backend.is_suspect


def _unversioned(vm: VM) -> VMSnapshot:
    return VMSnapshot(vm, None, 0.0)


def _expected_during(operation: Operation, previous_vm: VM) -> VM:
    building = operation.action is Action.CREATE
    status = Status.BUILDING if building else previous_vm.status
    return replace(previous_vm, status=status, task=operation.action.task)


def _expected_after(operation: Operation, previous_vm: VM) -> VM:
    status = TARGET_STATUS_BY_VERB.get(operation.steps[-1].verb, previous_vm.status)
    if operation.steps[-1].verb is Verb.CREATE:
        status = Status.RUNNING
    changes = operation.patch or VMPatch()
    metadata = changes.applied_to(previous_vm.metadata)
    name = changes.name or previous_vm.name
    return replace(previous_vm, status=status, task=None, name=name, metadata=metadata)
