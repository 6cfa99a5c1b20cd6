"""/vms: VMs and their life."""

from flask import Response

from vmapi.api import responses as render
from vmapi.api.openapi import examples
from vmapi.api.openapi.blueprint import BACKEND_PROBLEMS, IDEMPOTENCY_PROBLEMS, VM_CHANGE_PROBLEMS
from vmapi.api.openapi.headers import LINK_HEADER
from vmapi.api.openapi.vm_blueprint import AGE_HEADER, CACHE_CONTROL_HEADER, VMBlueprint
from vmapi.api.request.caller import current_scope
from vmapi.api.request.context import current_caller, current_services, no_cache
from vmapi.api.schemas.vms import (
    ConsoleQuerySchema,
    ConsoleSchema,
    CreateVMSchema,
    RestartSchema,
    UpdateVMSchema,
    VMListSchema,
    VMQuerySchema,
    VMSchema,
    VMStatusSchema,
)
from vmapi.api.views.vm_id import VMIdConverter
from vmapi.domain.lifecycle import Action
from vmapi.domain.pagination import PageRequest
from vmapi.domain.roles import Permission
from vmapi.domain.vm import CreateRequest, VMPatch, VMQuery

blp = VMBlueprint("vms", "Virtual machines and their life")
blp.record(lambda state: state.app.url_map.converters.update(vm=VMIdConverter))

LOCATION_HEADER = {"Location": {"schema": {"type": "string"}}}


@blp.post("/vms")
@blp.requires(Permission.CHANGE)
@blp.takes(CreateVMSchema(), example=examples.CREATE)
@blp.vm_change_responses(201, creates=True, **LOCATION_HEADER)
@blp.problems(
    *(
        "vm_not_found",
        "name_taken",
        "task_in_progress",
        *IDEMPOTENCY_PROBLEMS,
        "quota_exceeded",
        *BACKEND_PROBLEMS,
    ),
    *("flavor_not_found", "image_not_found", "image_ambiguous", "network_not_found"),
    *("network_ambiguous", "key_not_found", "security_group_not_found"),
)
def create_vm(wanted: CreateRequest) -> Response:
    """Create a VM

    It is built, and stopped again unless `start` is true.
    """
    return render.change_response(current_services().vms.create(wanted, current_caller()))


@blp.get("/vms")
@blp.requires(Permission.READ)
@blp.takes(VMQuerySchema(), location="query")
@blp.request_headers(CACHE_CONTROL_HEADER)
@blp.answers(200, VMListSchema(), example=examples.VM_LIST, headers={**LINK_HEADER, **AGE_HEADER})
@blp.problems(*BACKEND_PROBLEMS)
def list_vms(query: tuple[VMQuery, PageRequest]) -> Response:
    """List VMs"""
    found = current_services().vms.list(*query, current_scope(), refresh=no_cache())
    return render.page_response(
        found.page, [render.vm_json(vm) for vm in found.vms], render.age_header(found.age_seconds)
    )


@blp.get("/vms/<vm:vm_id>")
@blp.requires(Permission.READ)
@blp.vm_response(VMSchema(), examples.VM)
@blp.problems("vm_not_found", *BACKEND_PROBLEMS)
def get_vm(vm_id: str) -> Response:
    """Show a VM"""
    found = current_services().vms.get(vm_id, current_scope(), refresh=no_cache())
    return render.vm_response(found, render.vm_json(found.vm))


@blp.patch("/vms/<vm:vm_id>")
@blp.requires(Permission.CHANGE)
@blp.takes(UpdateVMSchema(), example={"metadata": {"env": "test", "owner": None}})
@blp.vm_change_responses(200)
@blp.problems(*VM_CHANGE_PROBLEMS, "name_taken", "quota_exceeded", *BACKEND_PROBLEMS)
def update_vm(changed: VMPatch, vm_id: str) -> Response:
    """Change a VM's name or metadata

    A JSON merge patch (RFC 7396): a key of `metadata` set to null is removed.
    """
    return render.change_response(current_services().vms.update(vm_id, changed, current_caller()))


@blp.delete("/vms/<vm:vm_id>")
@blp.requires(Permission.CHANGE)
@blp.vm_change_responses(204, busy=examples.BUSY_VM | {"task": "deleting"})
@blp.problems(*VM_CHANGE_PROBLEMS, *BACKEND_PROBLEMS)
def delete_vm(vm_id: str) -> Response:
    """Delete a VM

    Allowed in every state, also while something else is under way, which it ends.
    """
    return render.change_response(
        current_services().vms.perform_action(vm_id, Action.DELETE, current_caller())
    )


@blp.get("/vms/<vm:vm_id>/status")
@blp.requires(Permission.READ)
@blp.vm_response(VMStatusSchema(), examples.VM_STATUS)
@blp.problems("vm_not_found", *BACKEND_PROBLEMS)
def get_vm_status(vm_id: str) -> Response:
    """Show a VM's status: the cheap one to poll"""
    found = current_services().vms.get(vm_id, current_scope(), refresh=no_cache())
    return render.vm_response(found, render.vm_status_document(found.vm))


@blp.get("/vms/<vm:vm_id>/console")
@blp.requires(Permission.READ)
@blp.takes(ConsoleQuerySchema(), location="query")
@blp.answers(200, ConsoleSchema(), example={"output": "[    0.000000] Linux version 6.1.0\n"})
@blp.problems("vm_not_found", "invalid_state", *BACKEND_PROBLEMS)
def get_vm_console(query: dict[str, int], vm_id: str) -> Response:
    """Show what a VM printed while booting"""
    output = current_services().vms.get_console(vm_id, current_scope(), query.get("lines"))
    return render.json_response({"output": output})


@blp.post("/vms/<vm:vm_id>/start")
@blp.requires(Permission.CHANGE)
@blp.vm_change_responses(200)
@blp.problems(*VM_CHANGE_PROBLEMS, "quota_exceeded", *BACKEND_PROBLEMS)
def start_vm(vm_id: str) -> Response:
    """Start a STOPPED VM"""
    return render.change_response(
        current_services().vms.perform_action(vm_id, Action.START, current_caller())
    )


@blp.post("/vms/<vm:vm_id>/stop")
@blp.requires(Permission.CHANGE)
@blp.vm_change_responses(200)
@blp.problems(*VM_CHANGE_PROBLEMS, *BACKEND_PROBLEMS)
def stop_vm(vm_id: str) -> Response:
    """Stop a RUNNING or PAUSED VM"""
    return render.change_response(
        current_services().vms.perform_action(vm_id, Action.STOP, current_caller())
    )


@blp.post("/vms/<vm:vm_id>/restart")
@blp.requires(Permission.CHANGE)
@blp.takes(RestartSchema(), example={"type": "hard"}, required=False)
@blp.vm_change_responses(200)
@blp.problems(*VM_CHANGE_PROBLEMS, *BACKEND_PROBLEMS)
def restart_vm(how: dict[str, str], vm_id: str) -> Response:
    """Restart a RUNNING VM, or one in ERROR that ever ran"""
    hard = {"soft": False, "hard": True}.get(how.get("type", ""))
    return render.change_response(
        current_services().vms.perform_action(vm_id, Action.RESTART, current_caller(), hard=hard)
    )


@blp.post("/vms/<vm:vm_id>/pause")
@blp.requires(Permission.CHANGE)
@blp.vm_change_responses(200)
@blp.problems(*VM_CHANGE_PROBLEMS, *BACKEND_PROBLEMS)
def pause_vm(vm_id: str) -> Response:
    """Pause a RUNNING VM"""
    return render.change_response(
        current_services().vms.perform_action(vm_id, Action.PAUSE, current_caller())
    )


@blp.post("/vms/<vm:vm_id>/resume")
@blp.requires(Permission.CHANGE)
@blp.vm_change_responses(200)
@blp.problems(*VM_CHANGE_PROBLEMS, *BACKEND_PROBLEMS)
def resume_vm(vm_id: str) -> Response:
    """Resume a PAUSED VM"""
    return render.change_response(
        current_services().vms.perform_action(vm_id, Action.RESUME, current_caller())
    )
