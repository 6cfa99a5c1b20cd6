"""/vms: virtual machines."""

from flask import Response
from flask.blueprints import BlueprintSetupState
from werkzeug.routing import BaseConverter

from vmapi.api import responses
from vmapi.api.openapi import examples
from vmapi.api.openapi.blueprint import (
    BACKEND_PROBLEMS,
    IDEMPOTENCY_PROBLEMS,
    VM_CHANGE_PROBLEMS,
)
from vmapi.api.openapi.vm_blueprint import VMBlueprint
from vmapi.api.request.caller import current_caller, current_scope
from vmapi.api.request.context import current_services
from vmapi.api.request.headers import no_cache
from vmapi.api.schemas.vms import (
    ConsoleQuerySchema,
    ConsoleSchema,
    CreateVMSchema,
    RestartSchema,
    UpdateVMSchema,
    VMListSchema,
    VMQuerySchema,
    VMSchema,
    VMStateSchema,
)
from vmapi.domain.access.caller import Caller
from vmapi.domain.access.roles import Permission
from vmapi.domain.lifecycle import Action
from vmapi.domain.pagination import PageRequest
from vmapi.domain.vm import CreateRequest, VMPatch, VMQuery

blp = VMBlueprint("vms", "Virtual machines")


class VMIdConverter(BaseConverter):
    """Matches one URL segment except `actions`, which is the URL of bulk actions."""

    regex = r"(?!actions\Z)[^/]+"
    part_isolating = True


def _register_converter(state: BlueprintSetupState) -> None:
    state.app.url_map.converters["vm"] = VMIdConverter


blp.record(_register_converter)


@blp.post("/vms")
@blp.requires(Permission.CHANGE)
@blp.arguments(CreateVMSchema(), example=examples.CREATE)
@blp.vm_change_responses(201, "Location", creates=True)
@blp.problems(
    *("vm_not_found", "name_taken", "task_in_progress", *IDEMPOTENCY_PROBLEMS),
    *("quota_exceeded", *BACKEND_PROBLEMS),
    *("flavor_not_found", "image_not_found", "image_ambiguous", "network_not_found"),
    *("network_ambiguous", "key_not_found", "security_group_not_found"),
    "security_group_ambiguous",
)
def create_vm(create_request: CreateRequest) -> Response:
    """Create a VM

    The cloud builds the VM. Then vmapi stops it, unless `start` is true.
    """
    return responses.change_response(
        current_services().vms.create(create_request, current_caller(create_request))
    )


@blp.get("/vms")
@blp.requires(Permission.READ)
@blp.arguments(VMQuerySchema(), location="query")
@blp.request_headers("Cache-Control")
@blp.response(200, VMListSchema(), example=examples.VM_LIST, headers=["Link", "Age"])
@blp.problems(*BACKEND_PROBLEMS)
def list_vms(query: tuple[VMQuery, PageRequest]) -> Response:
    """List VMs"""
    listing = current_services().vms.list(*query, current_scope(), refresh=no_cache())
    return responses.vm_page_response(listing)


@blp.get("/vms/<vm:vm_id>")
@blp.requires(Permission.READ)
@blp.vm_response(VMSchema(), examples.VM)
@blp.problems("vm_not_found", *BACKEND_PROBLEMS)
def get_vm(vm_id: str) -> Response:
    """Get a VM"""
    snapshot = current_services().vms.get(vm_id, current_scope(), refresh=no_cache())
    return responses.vm_response(snapshot, responses.vm_json(snapshot.vm))


@blp.patch("/vms/<vm:vm_id>")
@blp.requires(Permission.CHANGE)
@blp.arguments(UpdateVMSchema(), example={"metadata": {"env": "test", "owner": None}})
@blp.vm_change_responses(200)
@blp.problems(*VM_CHANGE_PROBLEMS, "name_taken", "quota_exceeded", *BACKEND_PROBLEMS)
def update_vm(patch: VMPatch, vm_id: str) -> Response:
    """Change the name or the metadata of a VM

    The body is a JSON merge patch (RFC 7396): null removes a key of `metadata`.
    """
    caller = current_caller(patch)
    return responses.change_response(current_services().vms.update(vm_id, patch, caller))


@blp.delete("/vms/<vm:vm_id>")
@blp.requires(Permission.CHANGE)
@blp.vm_change_responses(204, in_progress_example=examples.BUSY_VM | {"task": "deleting"})
@blp.problems(*VM_CHANGE_PROBLEMS, *BACKEND_PROBLEMS)
def delete_vm(vm_id: str) -> Response:
    """Delete a VM

    A delete is allowed in every state, unless the VM is locked. It ends an operation in progress.
    """
    return _perform(vm_id, Action.DELETE, current_caller())


@blp.get("/vms/<vm:vm_id>/status")
@blp.requires(Permission.READ)
@blp.vm_response(VMStateSchema(), examples.VM_STATUS)
@blp.problems("vm_not_found", *BACKEND_PROBLEMS)
def get_vm_status(vm_id: str) -> Response:
    """Get the status of a VM, for polling"""
    snapshot = current_services().vms.get(vm_id, current_scope(), refresh=no_cache())
    return responses.vm_response(snapshot, responses.vm_status_document(snapshot.vm))


@blp.get("/vms/<vm:vm_id>/console")
@blp.requires(Permission.READ)
@blp.arguments(ConsoleQuerySchema(), location="query")
@blp.response(200, ConsoleSchema(), example={"output": "[    0.000000] Linux version 6.1.0\n"})
@blp.problems("vm_not_found", "invalid_state", *BACKEND_PROBLEMS)
def get_vm_console(query: dict[str, int], vm_id: str) -> Response:
    """Get the console output of a VM"""
    output = current_services().vms.get_console(vm_id, current_scope(), query.get("lines"))
    return responses.json_response({"output": output})


@blp.post("/vms/<vm:vm_id>/start")
@blp.requires(Permission.CHANGE)
@blp.vm_change_responses(200)
@blp.problems(*VM_CHANGE_PROBLEMS, "quota_exceeded", *BACKEND_PROBLEMS)
def start_vm(vm_id: str) -> Response:
    """Start a STOPPED VM"""
    return _perform(vm_id, Action.START, current_caller())


@blp.post("/vms/<vm:vm_id>/stop")
@blp.requires(Permission.CHANGE)
@blp.vm_change_responses(200)
@blp.problems(*VM_CHANGE_PROBLEMS, *BACKEND_PROBLEMS)
def stop_vm(vm_id: str) -> Response:
    """Stop a RUNNING or PAUSED VM"""
    return _perform(vm_id, Action.STOP, current_caller())


@blp.post("/vms/<vm:vm_id>/restart")
@blp.requires(Permission.CHANGE)
@blp.arguments(RestartSchema(), example={"type": "hard"}, required=False)
@blp.vm_change_responses(200)
@blp.problems(*VM_CHANGE_PROBLEMS, *BACKEND_PROBLEMS)
def restart_vm(options: dict[str, str], vm_id: str) -> Response:
    """Restart a RUNNING VM, or a VM in ERROR that ran before"""
    hard = {"soft": False, "hard": True}.get(options.get("type", ""))
    return _perform(vm_id, Action.RESTART, current_caller(options), hard=hard)


@blp.post("/vms/<vm:vm_id>/pause")
@blp.requires(Permission.CHANGE)
@blp.vm_change_responses(200)
@blp.problems(*VM_CHANGE_PROBLEMS, *BACKEND_PROBLEMS)
def pause_vm(vm_id: str) -> Response:
    """Pause a RUNNING VM"""
    return _perform(vm_id, Action.PAUSE, current_caller())


@blp.post("/vms/<vm:vm_id>/resume")
@blp.requires(Permission.CHANGE)
@blp.vm_change_responses(200)
@blp.problems(*VM_CHANGE_PROBLEMS, *BACKEND_PROBLEMS)
def resume_vm(vm_id: str) -> Response:
    """Resume a PAUSED VM"""
    return _perform(vm_id, Action.RESUME, current_caller())


def _perform(vm_id: str, action: Action, caller: Caller, *, hard: bool | None = None) -> Response:
    result = current_services().vms.perform_action(vm_id, action, caller, hard=hard)
    return responses.change_response(result)
