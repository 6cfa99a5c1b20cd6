"""The use cases of one VM: read, create, change.

Views call `VMService`. A change is built here, from the request and the inventory, and carried out
by `IdempotencyService`.
"""

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial

from vmapi.backends.base import Backend
from vmapi.domain.access.caller import Caller
from vmapi.domain.access.project import Scope
from vmapi.domain.catalog import Flavor, Image
from vmapi.domain.cloud_init import build_user_data
from vmapi.domain.lifecycle import Action, Status, Verb
from vmapi.domain.operation import CreateOrder, NewOperation, Operation, Step
from vmapi.domain.pagination import PageRequest
from vmapi.domain.snapshot import VMListing, VMSnapshot
from vmapi.domain.vm import VM, CreateRequest, CreateSpec, VMPatch, VMQuery
from vmapi.errors import Conflict, VMNotFound
from vmapi.services.catalog import Catalog
from vmapi.services.inventory.reader import VM_NOT_FOUND_DETAIL, InventoryReader
from vmapi.services.operations import preconditions
from vmapi.services.operations.idempotency import IdempotencyService
from vmapi.services.operations.results import ChangeResult
from vmapi.services.operations.submission import build_operation, build_vm_operation
from vmapi.services.quotas import QuotaService

UUID_LENGTH = 36


class VMService:
    """The VMs of one cloud. `clock` returns the time in UTC."""

    def __init__(
        self,
        backend: Backend,
        catalog: Catalog,
        reader: InventoryReader,
        idempotency: IdempotencyService,
        quotas: QuotaService,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._backend = backend
        self._catalog = catalog
        self._reader = reader
        self._idempotency = idempotency
        self._quotas = quotas
        self._clock = clock

    def get(self, vm_id: str, scope: Scope, *, refresh: bool = False) -> VMSnapshot:
        """Return a VM; `refresh` reads it from the cloud. Raises VMNotFound."""
        return self._reader.get(canonical_id(vm_id), scope, refresh=refresh)

    def list(
        self, query: VMQuery, page_request: PageRequest, scope: Scope, *, refresh: bool = False
    ) -> VMListing:
        """Return a page of VMs; `refresh` reads all VMs from the cloud."""
        return self._reader.list_page(query, page_request, scope, refresh=refresh)

    def get_console(self, vm_id: str, scope: Scope, lines: int | None) -> str:
        """Return the console output of a VM, or its last lines.

        Raises VMNotFound, InvalidState.
        """
        vm = self.get(vm_id, scope).vm
        try:
            return self._backend.get_console(vm.id, lines)
        except VMNotFound:
            raise VMNotFound(VM_NOT_FOUND_DETAIL) from None

    def create(self, request: CreateRequest, caller: Caller) -> ChangeResult:
        """Create a VM; stop it after its first boot unless the request says to start it.

        Raises the errors of `Catalog` and `Backend.create_vm`, NameTaken, QuotaExceeded.
        """
        return self._idempotency.run(caller, partial(self._build_create, request, caller))

    def perform_action(
        self, vm_id: str, action: Action, caller: Caller, *, hard: bool | None = None
    ) -> ChangeResult:
        """Start, stop, restart, pause, resume or delete a VM; `hard` is for a restart.

        Raises the errors of `plan_steps` and `Backend.perform_action`, PreconditionFailed.
        """

        def build(vm: VM) -> NewOperation:
            steps = preconditions.plan_steps(vm, action, hard=hard)
            return build_vm_operation(caller, vm, action, steps, self._clock())

        return self._idempotency.run(caller, partial(self._build_change, vm_id, caller, build))

    def update(self, vm_id: str, patch: VMPatch, caller: Caller) -> ChangeResult:
        """Change the name and metadata of a VM.

        Raises the errors of `perform_action`, ValidationFailed, NameTaken.
        """

        def build(vm: VM) -> NewOperation:
            steps = preconditions.plan_steps(vm, Action.UPDATE)
            preconditions.check_changes(vm, patch)
            new_name = patch.name if patch.name != vm.name else None
            fields = {"patch": patch, "reserved_name": new_name}
            return build_vm_operation(caller, vm, Action.UPDATE, steps, self._clock(), **fields)

        return self._idempotency.run(caller, partial(self._build_change, vm_id, caller, build))

    def _build_create(self, request: CreateRequest, caller: Caller) -> NewOperation:
        verbs = (Verb.CREATE,) if request.start else (Verb.CREATE, Verb.STOP)
        self._backend.check_create(caller.project, caller.caller_token)
        if self._backend.has_change_feed:
            self._reader.read_change_feed()
        self._quotas.ensure_usage_known(caller.project)
        flavor = self._catalog.find_flavor(request.flavor, caller.project)
        network = self._catalog.find_network(request.network, caller.project)
        image = self._catalog.find_image(request.image, caller.project)
        operation = build_operation(
            caller,
            Action.CREATE,
            tuple(map(Step, verbs)),
            self._clock(),
            reserved_name=request.name,
            vcpus=flavor.vcpus,
            ram_mb=flavor.ram_mb,
            order=CreateOrder(flavor.name, image.name, image.id),
        )
        return NewOperation(
            operation,
            vm=_expected_vm(request, flavor, image, operation),
            spec=_create_spec(
                request, flavor, image, network.id if network else None, caller.project
            ),
            caller_token=caller.caller_token,
        )

    def _build_change(
        self, vm_id: str, caller: Caller, build: Callable[[VM], NewOperation]
    ) -> NewOperation:
        etags, scope = caller.if_match, caller.scope
        snapshot = self.get(vm_id, scope, refresh=bool(etags))
        preconditions.check_if_match(snapshot, etags)
        try:
            new = build(snapshot.vm)
        except Conflict:
            if etags:
                raise
            # the inventory may be older than a change in the cloud
            return build(self.get(vm_id, scope, refresh=True).vm)
        return replace(new, vm_revision=snapshot.revision if etags else None)


def _create_spec(
    request: CreateRequest, flavor: Flavor, image: Image, network_id: str | None, project: str
) -> CreateSpec:
    return CreateSpec(
        name=request.name,
        flavor_id=flavor.id,
        image_id=image.id,
        network_id=network_id,
        metadata=request.metadata,
        user_data=build_user_data(request.user_data, request.ssh_keys),
        key_name=request.key_name,
        security_groups=request.security_groups,
        project=project,
    )


def _expected_vm(request: CreateRequest, flavor: Flavor, image: Image, operation: Operation) -> VM:
    return VM(
        id="",
        name=request.name,
        flavor=flavor.name,
        image=image.name,
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


def is_uuid(text: str) -> bool:
    """Return whether a text is a UUID with its hyphens."""
    try:
        return len(text) == UUID_LENGTH and bool(uuid.UUID(text))
    except ValueError:
        return False


def canonical_id(vm_id: str) -> str:
    """Return an id as the cloud writes it. Raises VMNotFound for an invalid UUID."""
    if is_uuid(vm_id):
        return str(uuid.UUID(vm_id))
    raise VMNotFound("There is no such VM: its id is not a UUID.")
