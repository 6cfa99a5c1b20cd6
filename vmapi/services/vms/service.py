"""The use cases: what a client does with VMs."""

import uuid
from collections.abc import Callable
from dataclasses import replace

from vmapi.backends.base import Backend
from vmapi.domain.catalog import Flavor
from vmapi.domain.cloud_init import compose
from vmapi.domain.lifecycle import Action, Status, Verb
from vmapi.domain.operation import Caller, Operation, Step
from vmapi.domain.pagination import Paging, VMQuery
from vmapi.domain.project import Scope
from vmapi.domain.snapshot import Listing, Sighting
from vmapi.domain.vm import VM, Changes, CreateRequest, CreateSpec
from vmapi.errors import Conflict, VMNotFound
from vmapi.services.catalog import Catalog
from vmapi.services.inventory.reader import NO_VM, View
from vmapi.services.operations import preconditions as guard
from vmapi.services.operations.change import Change
from vmapi.services.operations.submission import Submission
from vmapi.services.quotas import Usage

UUID_LENGTH = 36


class VMs:
    """The VMs of one cloud."""

    def __init__(
        self, backend: Backend, catalog: Catalog, view: View, submission: Submission, usage: Usage
    ) -> None:
        self._backend = backend
        self._catalog = catalog
        self._view = view
        self._submission = submission
        self._usage = usage

    def get(self, vm_id: str, scope: Scope, *, fresh: bool = False) -> Sighting:
        """Return a VM; `fresh` asks the cloud. Raises VMNotFound."""
        return self._view.get(canonical(vm_id), scope, fresh=fresh)

    def list(self, query: VMQuery, paging: Paging, scope: Scope, *, fresh: bool = False) -> Listing:
        """Return a page of the VMs that are asked for; `fresh` asks the cloud."""
        return self._view.find(query, paging, scope, fresh=fresh)

    def console(self, vm_id: str, scope: Scope, lines: int | None) -> str:
        """Return the last lines, or all, of what a VM printed. Raises VMNotFound, InvalidState."""
        vm = self.get(vm_id, scope).vm
        try:
            return self._backend.console(vm.id, lines)
        except VMNotFound:
            raise VMNotFound(NO_VM) from None

    def create(self, request: CreateRequest, caller: Caller) -> Change:
        """Have a VM made: booted, and stopped again unless it is to be started.

        Raises NameTaken, QuotaExceeded, and what `Catalog` and `Backend.create` raise.
        """
        return self._submission.once(caller, lambda: self._create(request, caller))

    def act(
        self, vm_id: str, action: Action, caller: Caller, *, hard: bool | None = None
    ) -> Change:
        """Start, stop, restart, pause, resume or delete a VM.

        Raises what `guard.plan` and `Backend.perform` raise, and PreconditionFailed.
        """

        def make(vm: VM) -> Operation:
            plan = guard.plan(vm, action, hard=hard)
            return self._submission.on(vm, action, plan, caller)

        return self._change(vm_id, caller, make)

    def update(self, vm_id: str, changes: Changes, caller: Caller) -> Change:
        """Change a VM's name and metadata.

        Raises ValidationFailed and NameTaken, and what `act` raises.
        """

        def make(vm: VM) -> Operation:
            plan = guard.plan(vm, Action.UPDATE)
            guard.check_changes(vm, changes)
            renamed = changes.name if changes.name != vm.name else None
            return self._submission.on(
                vm, Action.UPDATE, plan, caller, changes=changes, claimed_name=renamed
            )

        return self._change(vm_id, caller, make)

    def _create(self, request: CreateRequest, caller: Caller) -> Change:
        verbs = (Verb.CREATE,) if request.start else (Verb.CREATE, Verb.STOP)
        self._backend.check_create(caller.project, caller.credential)
        self._usage.prepare(caller.project)
        flavor = self._catalog.flavor(request.flavor)
        operation = self._submission.new(
            Action.CREATE,
            tuple(map(Step, verbs)),
            caller,
            spec=self._spec(request, flavor, caller.project),
            claimed_name=request.name,
            vcpus=flavor.vcpus,
            ram_mb=flavor.ram_mb,
        )
        expected = self._expected(request, flavor, operation)
        operation = replace(operation, expected=expected)
        return self._submission.submit(operation, caller, expected)

    def _change(self, vm_id: str, caller: Caller, make: Callable[[VM], Operation]) -> Change:
        def begin() -> Change:
            vm, operation = self._begun(vm_id, caller, make)
            return self._submission.submit(operation, caller, vm)

        return self._submission.once(caller, begin)

    def _begun(
        self, vm_id: str, caller: Caller, make: Callable[[VM], Operation]
    ) -> tuple[VM, Operation]:
        tags, scope = caller.if_match, caller.scope
        seen = self.get(vm_id, scope, fresh=bool(tags))
        guard.check_match(seen, tags)
        try:
            operation = make(seen.vm)
        except Conflict:
            if tags:
                raise
            # by now it may be another than the inventory says
            vm = self.get(vm_id, scope, fresh=True).vm
            return vm, make(vm)
        return seen.vm, replace(operation, vm_revision=seen.revision if tags else None)

    def _spec(self, request: CreateRequest, flavor: Flavor, project: str) -> CreateSpec:
        network = self._catalog.network(request.network, project)
        return CreateSpec(
            name=request.name,
            flavor_id=flavor.id,
            image_id=self._catalog.image(request.image, project).id,
            network_id=network.id if network else None,
            metadata=request.metadata,
            user_data=compose(request.user_data, request.ssh_keys),
            key_name=request.key_name,
            security_groups=request.security_groups,
            project=project,
        )

    def _expected(self, request: CreateRequest, flavor: Flavor, operation: Operation) -> VM:
        return VM(
            id="",
            name=request.name,
            flavor=flavor.name,
            image=self._catalog.image(request.image, operation.project).name,
            status=Status.BUILDING,
            task=Action.CREATE.task,
            metadata=request.metadata,
            key_name=request.key_name,
            security_groups=request.security_groups,
            created_at=operation.created_at,
            updated_at=operation.created_at,
            backend_status="BUILD",
            launched=False,
            project=operation.project,
            vcpus=flavor.vcpus,
            ram_mb=flavor.ram_mb,
            operation_id=operation.id,
        )


def canonical(vm_id: str) -> str:
    """Return an id as the cloud writes it. Raises VMNotFound for what cannot be one."""
    try:
        if len(vm_id) == UUID_LENGTH:
            return str(uuid.UUID(vm_id))
    except ValueError:
        pass
    raise VMNotFound("There is no such VM: its id is not a UUID.")
