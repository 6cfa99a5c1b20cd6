"""The use cases: what a client does with VMs."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from vmapi.backends.base import Backend
from vmapi.errors import BackendFailure, Conflict, NameTaken, VMNotFound
from vmapi.models.cloud_init import compose
from vmapi.models.lifecycle import Action, Status, Verb
from vmapi.models.operation import Caller, Operation, Step
from vmapi.models.page import Page, Paging, VMQuery
from vmapi.models.vm import VM, Changes, CreateRequest, CreateSpec
from vmapi.services import guard
from vmapi.services.catalog import Catalog
from vmapi.services.operations import Operations
from vmapi.store.operations import OperationStore

UUID_LENGTH = 36


@dataclass(frozen=True, slots=True)
class Change:
    """What came of a request to change something: the operation, and the VM unless it is gone."""

    operation: Operation
    vm: VM | None


class VMs:
    """The VMs of one cloud, with what vmapi has under way laid over what the cloud says."""

    def __init__(
        self,
        backend: Backend,
        catalog: Catalog,
        store: OperationStore,
        operations: Operations,
        clock: Callable[[], datetime],
    ) -> None:
        self._backend = backend
        self._catalog = catalog
        self._store = store
        self._operations = operations
        self._clock = clock

    def get(self, vm_id: str) -> VM:
        """Return a VM. Raises VMNotFound."""
        return self._shown(self._backend.get(_canonical(vm_id)))

    def list(self, query: VMQuery, paging: Paging) -> Page[VM]:
        """Return a page of the VMs that are asked for."""
        return paging.of(query.select([self._shown(vm) for vm in self._backend.vms()]))

    def console(self, vm_id: str, lines: int | None) -> str:
        """Return the last lines, or all, of what a VM printed. Raises VMNotFound, InvalidState."""
        return self._backend.console(_canonical(vm_id), lines)

    def create(self, request: CreateRequest, caller: Caller) -> Change:
        """Have a VM made: booted, and stopped again unless it is to be started.

        Raises NameTaken, and what `Catalog` and `Backend.create` raise.
        """
        spec = self._spec(request)
        verbs = (Verb.CREATE,) if request.start else (Verb.CREATE, Verb.STOP)
        operation = self._new(Action.CREATE, tuple(map(Step, verbs)), caller)
        operation = replace(operation, spec=spec, claimed_name=request.name)
        self._store.add(operation)
        self._check_name(operation)
        return self._carry_out(operation, self._expected(request, operation))

    def act(
        self, vm_id: str, action: Action, caller: Caller, *, hard: bool | None = None
    ) -> Change:
        """Start, stop, restart, pause, resume or delete a VM.

        Raises what `guard.plan` and `Backend.perform` raise.
        """
        vm = self.get(vm_id)
        operation = self._new(action, guard.plan(vm, action, hard=hard), caller, vm.id)
        self._add(operation, vm)
        return self._carry_out(operation, vm)

    def update(self, vm_id: str, changes: Changes, caller: Caller) -> Change:
        """Change a VM's name and metadata.

        Raises ValidationFailed and NameTaken, and what `act` raises.
        """
        vm = self.get(vm_id)
        steps = guard.plan(vm, Action.UPDATE)
        guard.check_changes(vm, changes)
        renamed = changes.name if changes.name != vm.name else None
        operation = self._new(Action.UPDATE, steps, caller, vm.id)
        operation = replace(operation, changes=changes, claimed_name=renamed)
        self._add(operation, vm)
        self._check_name(operation)
        return self._carry_out(operation, vm)

    def _spec(self, request: CreateRequest) -> CreateSpec:
        network = self._catalog.network(request.network)
        return CreateSpec(
            name=request.name,
            flavor_id=self._catalog.flavor(request.flavor).id,
            image_id=self._catalog.image(request.image).id,
            network_id=network.id if network else None,
            metadata=request.metadata,
            user_data=compose(request.user_data, request.ssh_keys),
            key_name=request.key_name,
            security_groups=request.security_groups,
        )

    def _new(
        self, action: Action, plan: tuple[Step, ...], caller: Caller, vm_id: str | None = None
    ) -> Operation:
        return Operation(
            id=str(uuid.uuid4()),
            action=action,
            plan=plan,
            created_at=self._clock(),
            requested_by=caller.user,
            request_id=caller.request_id,
            vm_id=vm_id,
        )

    def _add(self, operation: Operation, vm: VM) -> None:
        try:
            self._store.add(operation)
        except NameTaken:
            raise
        except Conflict as conflict:
            raise guard.explained(conflict, vm) from None

    def _check_name(self, operation: Operation) -> None:
        # the claim is ours already: of many who ask at once, one gets here at a time
        if operation.claimed_name is None:
            return
        try:
            holder = next(iter(self._backend.vms(name=operation.claimed_name)), None)
        except Exception:
            self._store.discard(operation)
            raise
        if holder is not None:
            self._store.discard(operation)
            detail = f"VM {holder.id} is called {holder.name} already."
            raise NameTaken(detail, vm_id=holder.id)

    def _carry_out(self, operation: Operation, before: VM) -> Change:
        try:
            progress = self._operations.start(operation)
        except Conflict as conflict:
            raise guard.explained(conflict, self._last_seen(before)) from None
        operation = progress.operation
        if operation.finished and operation.action is Action.DELETE:
            return Change(operation, None)
        vm = progress.vm or replace(self._last_seen(before), id=operation.vm_id or before.id)
        return Change(operation, self._shown(vm))

    def _last_seen(self, before: VM) -> VM:
        try:
            return self._shown(self._backend.get(before.id))
        except (VMNotFound, BackendFailure):
            return before

    def _expected(self, request: CreateRequest, operation: Operation) -> VM:
        return VM(
            id="",
            name=request.name,
            flavor=request.flavor,
            image=request.image,
            status=Status.BUILDING,
            task=Action.CREATE.task,
            metadata=request.metadata,
            key_name=request.key_name,
            security_groups=request.security_groups,
            created_at=operation.created_at,
            updated_at=operation.created_at,
            backend_status="BUILD",
            launched=False,
        )

    def _shown(self, vm: VM) -> VM:
        operation = self._store.unfinished_of(vm.id)
        if operation is None:
            return vm
        building = operation.action is Action.CREATE
        status = Status.BUILDING if building else vm.status
        return replace(vm, status=status, task=operation.action.task)


def _canonical(vm_id: str) -> str:
    try:
        if len(vm_id) == UUID_LENGTH:
            return str(uuid.UUID(vm_id))
    except ValueError:
        pass
    raise VMNotFound("There is no such VM: its id is not a UUID.")
