"""The use cases: what a client does with VMs."""

import uuid
from collections.abc import Callable
from dataclasses import replace

from vmapi.backends.base import Backend
from vmapi.domain.caller import Caller
from vmapi.domain.catalog import Flavor
from vmapi.domain.cloud_init import build_user_data
from vmapi.domain.lifecycle import Action, Status, Verb
from vmapi.domain.operation import Operation, Step
from vmapi.domain.pagination import PageRequest
from vmapi.domain.project import Scope
from vmapi.domain.snapshot import VMListing, VMSnapshot
from vmapi.domain.vm import VM, CreateRequest, CreateSpec, VMPatch, VMQuery
from vmapi.errors import Conflict, VMNotFound
from vmapi.services.catalog import Catalog
from vmapi.services.inventory.reader import VM_NOT_FOUND_DETAIL, InventoryReader
from vmapi.services.operations import preconditions as guard
from vmapi.services.operations.change import ChangeResult
from vmapi.services.operations.submission import OperationSubmitter
from vmapi.services.quotas import QuotaService

UUID_LENGTH = 36


class VMService:
    """The VMs of one cloud."""

    def __init__(
        self,
        backend: Backend,
        catalog: Catalog,
        reader: InventoryReader,
        submitter: OperationSubmitter,
        quotas: QuotaService,
    ) -> None:
        self._backend = backend
        self._catalog = catalog
        self._reader = reader
        self._submitter = submitter
        self._quotas = quotas

    def get(self, vm_id: str, scope: Scope, *, refresh: bool = False) -> VMSnapshot:
        """Return a VM; `fresh` asks the cloud. Raises VMNotFound."""
        return self._reader.get(canonical_id(vm_id), scope, refresh=refresh)

    def list(
        self, query: VMQuery, paging: PageRequest, scope: Scope, *, refresh: bool = False
    ) -> VMListing:
        """Return a page of the VMs that are asked for; `fresh` asks the cloud."""
        return self._reader.list_page(query, paging, scope, refresh=refresh)

    def get_console(self, vm_id: str, scope: Scope, lines: int | None) -> str:
        """Return the last lines, or all, of what a VM printed. Raises VMNotFound, InvalidState."""
        vm = self.get(vm_id, scope).vm
        try:
            return self._backend.get_console(vm.id, lines)
        except VMNotFound:
            raise VMNotFound(VM_NOT_FOUND_DETAIL) from None

    def create(self, request: CreateRequest, caller: Caller) -> ChangeResult:
        """Have a VM made: booted, and stopped again unless it is to be started.

        Raises NameTaken, QuotaExceeded, and what `Catalog` and `Backend.create` raise.
        """
        return self._submitter.run_idempotent(caller, lambda: self._submit_create(request, caller))

    def perform_action(
        self, vm_id: str, action: Action, caller: Caller, *, hard: bool | None = None
    ) -> ChangeResult:
        """Start, stop, restart, pause, resume or delete a VM.

        Raises what `guard.plan` and `Backend.perform` raise, and PreconditionFailed.
        """

        def make(vm: VM) -> Operation:
            plan = guard.plan_steps(vm, action, hard=hard)
            return self._submitter.new_vm_operation(vm, action, plan, caller)

        return self._submit_change(vm_id, caller, make)

    def update(self, vm_id: str, changes: VMPatch, caller: Caller) -> ChangeResult:
        """Change a VM's name and metadata.

        Raises ValidationFailed and NameTaken, and what `act` raises.
        """

        def make(vm: VM) -> Operation:
            plan = guard.plan_steps(vm, Action.UPDATE)
            guard.check_changes(vm, changes)
            renamed = changes.name if changes.name != vm.name else None
            return self._submitter.new_vm_operation(
                vm, Action.UPDATE, plan, caller, patch=changes, reserved_name=renamed
            )

        return self._submit_change(vm_id, caller, make)

    def _submit_create(self, request: CreateRequest, caller: Caller) -> ChangeResult:
        verbs = (Verb.CREATE,) if request.start else (Verb.CREATE, Verb.STOP)
        self._backend.check_create(caller.project, caller.caller_token)
        self._quotas.ensure_usage_known(caller.project)
        flavor = self._catalog.find_flavor(request.flavor)
        operation = self._submitter.new_operation(
            Action.CREATE,
            tuple(map(Step, verbs)),
            caller,
            spec=self._build_spec(request, flavor, caller.project),
            reserved_name=request.name,
            vcpus=flavor.vcpus,
            ram_mb=flavor.ram_mb,
        )
        expected = self._expected_vm(request, flavor, operation)
        operation = replace(operation, expected_vm=expected)
        return self._submitter.submit(operation, caller, expected)

    def _submit_change(
        self, vm_id: str, caller: Caller, build_operation: Callable[[VM], Operation]
    ) -> ChangeResult:
        def begin() -> ChangeResult:
            vm, operation = self._load_and_plan(vm_id, caller, build_operation)
            return self._submitter.submit(operation, caller, vm)

        return self._submitter.run_idempotent(caller, begin)

    def _load_and_plan(
        self, vm_id: str, caller: Caller, build_operation: Callable[[VM], Operation]
    ) -> tuple[VM, Operation]:
        tags, scope = caller.if_match, caller.scope
        seen = self.get(vm_id, scope, refresh=bool(tags))
        guard.check_if_match(seen, tags)
        try:
            operation = build_operation(seen.vm)
        except Conflict:
            if tags:
                raise
            # by now it may be another than the inventory says
            vm = self.get(vm_id, scope, refresh=True).vm
            return vm, build_operation(vm)
        return seen.vm, replace(operation, vm_revision=seen.revision if tags else None)

    def _build_spec(self, request: CreateRequest, flavor: Flavor, project: str) -> CreateSpec:
        network = self._catalog.find_network(request.network, project)
        return CreateSpec(
            name=request.name,
            flavor_id=flavor.id,
            image_id=self._catalog.find_image(request.image, project).id,
            network_id=network.id if network else None,
            metadata=request.metadata,
            user_data=build_user_data(request.user_data, request.ssh_keys),
            key_name=request.key_name,
            security_groups=request.security_groups,
            project=project,
        )

    def _expected_vm(self, request: CreateRequest, flavor: Flavor, operation: Operation) -> VM:
        return VM(
            id="",
            name=request.name,
            flavor=flavor.name,
            image=self._catalog.find_image(request.image, operation.project).name,
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


def canonical_id(vm_id: str) -> str:
    """Return an id as the cloud writes it. Raises VMNotFound for what cannot be one."""
    try:
        if len(vm_id) == UUID_LENGTH:
            return str(uuid.UUID(vm_id))
    except ValueError:
        pass
    raise VMNotFound("There is no such VM: its id is not a UUID.")
