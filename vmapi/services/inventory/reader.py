"""Read VMs: from the inventory where it is current, from the cloud where it is not.

The services and views read VMs through `InventoryReader`. It asks the cloud where the client
wants that (`Cache-Control: no-cache`), where the inventory is older than `MAX_INVENTORY_AGE`, and
where a call costs nothing (the memory cloud). While the cloud is unavailable, readers get the last
known state with its age.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from vmapi.backends.base import Backend
from vmapi.domain.access.project import Scope
from vmapi.domain.lifecycle import TARGET_STATUS_BY_VERB, Action, Status, Verb
from vmapi.domain.operation import Operation, OperationStatus
from vmapi.domain.pagination import MAX_PAGE_SIZE, Page, PageRequest
from vmapi.domain.snapshot import VMListing, VMSnapshot
from vmapi.domain.vm import DELETED_VM_RETENTION, VM, VMPatch, VMQuery
from vmapi.errors import BackendFailure, StoreUnavailable, VMNotFound
from vmapi.services.inventory.observer import CloudObserver
from vmapi.services.timeouts import run_with_timeout
from vmapi.store.store import Store

VM_NOT_FOUND_DETAIL = "There is no VM of this id."

MAX_INVENTORY_AGE = 10.0
"""Seconds. An older inventory means that no process syncs it, and readers ask the cloud."""

READ_REFRESH_TIMEOUT = 1.0
"""Seconds that a reader waits for the cloud where the inventory has older data to show."""


class InventoryReader:
    """Reads VMs from the inventory and refreshes it from the cloud where needed."""

    def __init__(
        self,
        backend: Backend,
        store: Store,
        observer: CloudObserver,
        clock: Callable[[], datetime],
    ) -> None:
        self._backend = backend
        self._completes_immediately = backend.completes_immediately
        self._store = store
        self._observer = observer
        self._clock = clock

    def get(self, vm_id: str, scope: Scope, *, refresh: bool = False) -> VMSnapshot:
        """Return a VM of a project; `refresh` asks the cloud first. Raises VMNotFound.

        A VM of another project gets the same error as an unknown one, after the same time: the
        cloud is asked for an id that no VM has.
        """
        if self._observer.read_change_feed():
            return self._get_current(vm_id, scope)
        snapshot = self._store.inventory.get(vm_id)
        if snapshot is not None and scope not in (None, snapshot.vm.project):
            # a VM without a known project may belong to the caller
            vm_id = str(uuid.uuid4()) if snapshot.vm.project else vm_id
            snapshot = None
        refresh = refresh or self._completes_immediately or snapshot is None
        if not refresh and snapshot is not None and not self._is_stale(snapshot.age_seconds):
            return snapshot
        with suppress(VMNotFound):
            try:
                if refresh:
                    self._observer.fetch(vm_id)
                else:
                    run_with_timeout(READ_REFRESH_TIMEOUT, lambda: self._observer.fetch(vm_id))
            except BackendFailure:
                if refresh or snapshot is None:
                    raise
                return snapshot
            if snapshot := self._store.inventory.get(vm_id, scope):
                return snapshot
        raise VMNotFound(VM_NOT_FOUND_DETAIL)

    def list_page(
        self, query: VMQuery, request: PageRequest, scope: Scope, *, refresh: bool = False
    ) -> VMListing:
        """Return a page of the VMs of a project that match a query."""
        is_current = self._observer.read_change_feed()
        deleted_after = self._clock() - DELETED_VM_RETENTION
        listing = self._store.inventory.list_page(query, request, deleted_after, scope)
        if is_current:
            return replace(listing, age_seconds=0.0)
        refresh = refresh or self._completes_immediately
        if not self.refresh_if_stale(listing.age_seconds, refresh=refresh):
            return listing
        return self._store.inventory.list_page(query, request, deleted_after, scope)

    def refresh_if_stale(self, age: float | None, *, refresh: bool = False) -> bool:
        """Run a full sync if `refresh` is set or the inventory is stale; return True if it ran.

        `age` is in seconds, None before the first full sync. Raises BackendFailure if the cloud
        fails and the inventory cannot be used instead.
        """
        if self._observer.read_change_feed():
            return True
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

    def read_change_feed(self) -> None:
        """Save earlier changes of the cloud, so that an operation is saved with its own only."""
        self._observer.read_change_feed()

    def age_seconds(self) -> float | None:
        """Return the seconds since all changes were known; None before the first sync."""
        return 0.0 if self._backend.has_change_feed else self._store.inventory.age_seconds()

    def read_pages(self, query: VMQuery, scope: Scope) -> Iterator[Page[VM]]:
        """Yield the pages of all VMs of a project that match a query.

        Each page is as large as a page of a client, so that the index of the live VMs serves it.
        """
        request: PageRequest | None = PageRequest(1, MAX_PAGE_SIZE)
        while request is not None:
            page = self.list_page(query, request, scope).page
            yield page
            position = page.next_position
            request = None if position is None else PageRequest(1, MAX_PAGE_SIZE, position)

    def get_many(self, vm_ids: Sequence[str], scope: Scope) -> Mapping[str, VM]:
        """Return the live VMs of a project among these ids, by id."""
        self.refresh_if_stale(self.age_seconds(), refresh=self._completes_immediately)
        return self._store.inventory.get_many(vm_ids, scope)

    def snapshot_after(
        self, operation: Operation, previous_vm: VM, stored_vm: VMSnapshot | None = None
    ) -> VMSnapshot:
        """Return a VM after an operation on it has begun or finished, with few cloud calls.

        `previous_vm` is the VM before the operation, `stored_vm` its row as the last change of the
        operation has left it. Raises BackendFailure or StoreUnavailable if the VM can neither be
        read nor inferred.
        """
        if stored_vm is not None:
            return stored_vm
        if not operation.is_finished and not self._completes_immediately:
            return self._cached(previous_vm.id) or _unversioned(
                _expected_during(operation, previous_vm)
            )
        try:
            # only the cloud shows the result of an update of name or metadata
            refresh = operation.action is Action.UPDATE
            return self.get(previous_vm.id, previous_vm.project, refresh=refresh)
        except (VMNotFound, BackendFailure, StoreUnavailable):
            if not operation.is_finished:
                return _unversioned(_expected_during(operation, previous_vm))
            if operation.status is not OperationStatus.SUCCEEDED:
                raise
            return _unversioned(_expected_after(operation, previous_vm))

    def latest_or(self, previous_vm: VM) -> VM:
        """Return the current state of a VM, or `previous_vm` if it cannot be read."""
        try:
            return self.get(previous_vm.id, previous_vm.project, refresh=True).vm
        except (VMNotFound, BackendFailure, StoreUnavailable):
            return previous_vm

    def _get_current(self, vm_id: str, scope: Scope) -> VMSnapshot:
        """Return a VM after the change feed was read: the inventory knows all changes."""
        snapshot = self._store.inventory.get(vm_id, scope, is_current=True)
        if snapshot is None:
            raise VMNotFound(VM_NOT_FOUND_DETAIL)
        return replace(snapshot, age_seconds=0.0)

    def _cached(self, vm_id: str) -> VMSnapshot | None:
        try:
            return self._store.inventory.get(vm_id)
        except StoreUnavailable:
            # the change is accepted already: its response does without
            return None

    def _is_stale(self, age: float) -> bool:
        return age > MAX_INVENTORY_AGE and not self._backend.is_suspect


def _unversioned(vm: VM) -> VMSnapshot:
    return VMSnapshot(vm, None, 0.0)


def _expected_during(operation: Operation, previous_vm: VM) -> VM:
    is_create = operation.action is Action.CREATE
    status = Status.BUILDING if is_create else previous_vm.status
    return replace(previous_vm, status=status, task=operation.action.task)


def _expected_after(operation: Operation, previous_vm: VM) -> VM:
    last_verb = operation.steps[-1].verb
    status = TARGET_STATUS_BY_VERB.get(last_verb, previous_vm.status)
    if last_verb is Verb.CREATE:
        status = Status.RUNNING
    patch = operation.patch or VMPatch()
    metadata = patch.applied_to(previous_vm.metadata)
    name = patch.name or previous_vm.name
    return replace(previous_vm, status=status, task=None, name=name, metadata=metadata)
