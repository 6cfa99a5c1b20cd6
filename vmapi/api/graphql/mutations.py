"""The mutations of the schema: one for each change. Each calls the service of the REST view."""

from typing import Any

import strawberry

from vmapi.api.graphql.changes import Change
from vmapi.api.graphql.state import ExecutionState
from vmapi.api.graphql.types.enums import Action, RestartType
from vmapi.api.graphql.types.inputs import (
    CreateVMInput,
    UpdateVMInput,
    VMFilter,
    argument_error,
    load_arguments,
    to_members,
)
from vmapi.api.graphql.types.objects import OperationType, to_operation_node
from vmapi.api.graphql.types.vms import TaggedVM, VMType
from vmapi.api.request.context import current_services, set_logged_vm
from vmapi.api.request.fingerprint import canonical_vm_id
from vmapi.api.responses import NO_VM_SELECTED_DETAIL
from vmapi.api.schemas.bulk import BulkRequestSchema
from vmapi.api.schemas.vms import CreateVMSchema, UpdateVMSchema
from vmapi.domain.lifecycle import VM_ACTIONS
from vmapi.services.operations.results import ChangeResult
from vmapi.services.vms.bulk import BulkResult

BULK_ACTION_DETAIL = f"Must be one of: {', '.join(action.name for action in VM_ACTIONS)}."
CREATE_INPUT = CreateVMSchema()
UPDATE_INPUT = UpdateVMSchema()
BULK_INPUT = BulkRequestSchema()


@strawberry.type(name="VMChange", description="A change of a VM.")
class VMChange:
    """A change of a VM, from `ChangeResult`."""

    operation: OperationType

    @strawberry.field(description="The VM; null for a deleted VM.", graphql_type=VMType | None)
    @staticmethod
    def vm(root: strawberry.Parent[Any], info: strawberry.Info[ExecutionState]) -> Any:
        """Return the VM with its entity tag."""
        result: ChangeResult = root
        # an earlier change of the document may have loaded the operations of the VM
        info.context.begin_page(())
        return result.snapshot and TaggedVM(result.snapshot.vm, result.snapshot.etag)

    replayed: bool = strawberry.field(
        description="True if an earlier request with the same key has made the change."
    )


@strawberry.type(name="BulkChange", description="One action on many VMs.")
class BulkChange:
    """One action on many VMs, from `BulkResult`."""

    @strawberry.field(description="The bulk operation.", graphql_type=OperationType)
    @staticmethod
    def operation(root: strawberry.Parent[Any]) -> Any:
        """Return the bulk operation."""
        result: BulkResult = root
        return to_operation_node(result.bulk)

    replayed: bool = strawberry.field(
        description="True if an earlier request with the same key has made the change."
    )

    @strawberry.field(description="States that the filter selects no VM; else null.")
    @staticmethod
    def detail(root: strawberry.Parent[Any]) -> str | None:
        """Return the statement about an empty selection."""
        result: BulkResult = root
        return None if result.bulk.items else NO_VM_SELECTED_DETAIL


def _action_mutation(action: Action, description: str) -> Any:
    """Return the mutation of an action that takes options only."""

    def resolve(
        id: strawberry.ID,
        idempotency_key: str | None = None,
        wait_seconds: int = 0,
        if_match: str | None = None,
    ) -> Any:
        change = Change(f"{action}_vm", id, idempotency_key, wait_seconds, if_match)
        change.authorize()
        return _perform(change, id, action)

    return strawberry.mutation(
        resolver=resolve, description=description, graphql_type=VMChange | None
    )


@strawberry.type(description="Changes of VMs; each counts as a change for the rate limits.")
class Mutation:
    """The mutations of the schema."""

    @strawberry.mutation(description="Create a VM.", graphql_type=VMChange | None)
    @staticmethod
    def create_vm(
        input: CreateVMInput, idempotency_key: str | None = None, wait_seconds: int = 0
    ) -> Any:
        """Create a VM."""
        change = Change("create_vm", None, idempotency_key, wait_seconds)
        change.authorize()
        create_request = load_arguments(CREATE_INPUT, to_members(input))
        caller = change.build_caller(create_request)
        return _log_vm(current_services().vms.create(create_request, caller))

    @strawberry.mutation(
        description="Change the name or the metadata of a VM.", graphql_type=VMChange | None
    )
    @staticmethod
    def update_vm(
        id: strawberry.ID,
        input: UpdateVMInput,
        idempotency_key: str | None = None,
        wait_seconds: int = 0,
        if_match: str | None = None,
    ) -> Any:
        """Change the name or the metadata of a VM."""
        change = Change("update_vm", id, idempotency_key, wait_seconds, if_match)
        change.authorize()
        patch = load_arguments(UPDATE_INPUT, to_members(input))
        return _log_vm(current_services().vms.update(id, patch, change.build_caller(patch)))

    @strawberry.mutation(
        description="Restart a RUNNING VM, or a VM in ERROR that ran before. Without `type`, the "
        "restart is soft, and hard on ERROR.",
        graphql_type=VMChange | None,
    )
    @staticmethod
    def restart_vm(
        id: strawberry.ID,
        type: RestartType | None = None,
        idempotency_key: str | None = None,
        wait_seconds: int = 0,
        if_match: str | None = None,
    ) -> Any:
        """Restart a VM."""
        change = Change("restart_vm", id, idempotency_key, wait_seconds, if_match)
        change.authorize()
        hard = None if type is None else type is RestartType.HARD
        return _perform(change, id, Action.RESTART, {"type": type} if type else {}, hard=hard)

    start_vm = _action_mutation(Action.START, "Start a STOPPED VM.")
    stop_vm = _action_mutation(Action.STOP, "Stop a RUNNING or PAUSED VM.")
    pause_vm = _action_mutation(Action.PAUSE, "Pause a RUNNING VM.")
    resume_vm = _action_mutation(Action.RESUME, "Resume a PAUSED VM.")
    delete_vm = _action_mutation(Action.DELETE, "Delete a VM, in every state unless it is locked.")

    @strawberry.mutation(
        description="Start, stop, restart, pause, resume or delete many VMs: those of either "
        "`ids` or `filter`.",
        graphql_type=BulkChange | None,
    )
    @staticmethod
    def act_on_vms(
        action: Action,
        ids: list[strawberry.ID] | None = None,
        filter: VMFilter | None = None,
        idempotency_key: str | None = None,
        wait_seconds: int = 0,
    ) -> Any:
        """Submit one action for many VMs."""
        change = Change("act_on_vms", None, idempotency_key, wait_seconds)
        change.authorize()
        if action not in VM_ACTIONS:
            raise argument_error("action", BULK_ACTION_DETAIL)
        members: dict[str, Any] = {"action": action.value}
        members |= {} if ids is None else {"ids": ids}
        members |= {} if filter is None else {"filter": to_members(filter)}
        body = load_arguments(BULK_INPUT, members)
        bulk = current_services().bulk
        if "ids" in body:
            target = {**body, "ids": [canonical_vm_id(vm_id) for vm_id in body["ids"]]}
            return bulk.perform_by_ids(action, body["ids"], change.build_caller(target))
        return bulk.perform_by_filter(action, body["filter"], change.build_caller(body))


def _perform(
    change: Change, vm_id: str, action: Action, body: object = None, *, hard: bool | None = None
) -> ChangeResult:
    caller = change.build_caller(body)
    return _log_vm(current_services().vms.perform_action(vm_id, action, caller, hard=hard))


def _log_vm(result: ChangeResult) -> ChangeResult:
    set_logged_vm(result.operation.vm_id)
    return result
