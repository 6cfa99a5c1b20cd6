"""/vms: VMs and their life."""

from flask import Response

from vmapi.api import responses as render
from vmapi.api.openapi import examples
from vmapi.api.openapi.blueprint import CHANGE, CLOUD, KEYED
from vmapi.api.openapi.headers import LINK
from vmapi.api.openapi.vm_blueprint import AGE, CACHE_CONTROL, VMBlueprint
from vmapi.api.request.caller import scope
from vmapi.api.request.context import caller, fresh, services
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
from vmapi.api.views.vm_id import VMId
from vmapi.domain.lifecycle import Action
from vmapi.domain.pagination import Paging, VMQuery
from vmapi.domain.roles import Permission
from vmapi.domain.vm import Changes, CreateRequest

blp = VMBlueprint("vms", "Virtual machines and their life")
blp.record(lambda state: state.app.url_map.converters.update(vm=VMId))

LOCATION = {"Location": {"schema": {"type": "string"}}}


@blp.post("/vms")
@blp.needs(Permission.CHANGE)
@blp.takes(CreateVMSchema(), example=examples.CREATE)
@blp.changes(201, anew=True, **LOCATION)
@blp.refuses(
    *("vm_not_found", "name_taken", "task_in_progress", *KEYED, "quota_exceeded", *CLOUD),
    *("flavor_not_found", "image_not_found", "image_ambiguous", "network_not_found"),
    *("network_ambiguous", "key_not_found", "security_group_not_found"),
)
def create_vm(wanted: CreateRequest) -> Response:
    """Create a VM

    It is built, and stopped again unless `start` is true.
    """
    return render.change(services().vms.create(wanted, caller()))


@blp.get("/vms")
@blp.needs(Permission.READ)
@blp.takes(VMQuerySchema(), location="query")
@blp.heeds(CACHE_CONTROL)
@blp.answers(200, VMListSchema(), example=examples.VM_LIST, headers={**LINK, **AGE})
@blp.refuses(*CLOUD)
def list_vms(query: tuple[VMQuery, Paging]) -> Response:
    """List VMs"""
    found = services().vms.list(*query, scope(), fresh=fresh())
    return render.page(found.page, [render.vm_json(vm) for vm in found.vms], render.age(found.age))


@blp.get("/vms/<vm:vm_id>")
@blp.needs(Permission.READ)
@blp.shows(VMSchema(), examples.VM)
@blp.refuses("vm_not_found", *CLOUD)
def get_vm(vm_id: str) -> Response:
    """Show a VM"""
    found = services().vms.get(vm_id, scope(), fresh=fresh())
    return render.seen(found, render.vm_json(found.vm))


@blp.patch("/vms/<vm:vm_id>")
@blp.needs(Permission.CHANGE)
@blp.takes(UpdateVMSchema(), example={"metadata": {"env": "test", "owner": None}})
@blp.changes(200)
@blp.refuses(*CHANGE, "name_taken", "quota_exceeded", *CLOUD)
def update_vm(changed: Changes, vm_id: str) -> Response:
    """Change a VM's name or metadata

    A JSON merge patch (RFC 7396): a key of `metadata` set to null is removed.
    """
    return render.change(services().vms.update(vm_id, changed, caller()))


@blp.delete("/vms/<vm:vm_id>")
@blp.needs(Permission.CHANGE)
@blp.changes(204, busy=examples.BUSY | {"task": "deleting"})
@blp.refuses(*CHANGE, *CLOUD)
def delete_vm(vm_id: str) -> Response:
    """Delete a VM

    Allowed in every state, also while something else is under way, which it ends.
    """
    return render.change(services().vms.act(vm_id, Action.DELETE, caller()))


@blp.get("/vms/<vm:vm_id>/status")
@blp.needs(Permission.READ)
@blp.shows(VMStatusSchema(), examples.STATUS)
@blp.refuses("vm_not_found", *CLOUD)
def get_vm_status(vm_id: str) -> Response:
    """Show a VM's status: the cheap one to poll"""
    found = services().vms.get(vm_id, scope(), fresh=fresh())
    return render.seen(found, render.status(found.vm))


@blp.get("/vms/<vm:vm_id>/console")
@blp.needs(Permission.READ)
@blp.takes(ConsoleQuerySchema(), location="query")
@blp.answers(200, ConsoleSchema(), example={"output": "[    0.000000] Linux version 6.1.0\n"})
@blp.refuses("vm_not_found", "invalid_state", *CLOUD)
def get_vm_console(query: dict[str, int], vm_id: str) -> Response:
    """Show what a VM printed while booting"""
    output = services().vms.console(vm_id, scope(), query.get("lines"))
    return render.answer({"output": output})


@blp.post("/vms/<vm:vm_id>/start")
@blp.needs(Permission.CHANGE)
@blp.changes(200)
@blp.refuses(*CHANGE, "quota_exceeded", *CLOUD)
def start_vm(vm_id: str) -> Response:
    """Start a STOPPED VM"""
    return render.change(services().vms.act(vm_id, Action.START, caller()))


@blp.post("/vms/<vm:vm_id>/stop")
@blp.needs(Permission.CHANGE)
@blp.changes(200)
@blp.refuses(*CHANGE, *CLOUD)
def stop_vm(vm_id: str) -> Response:
    """Stop a RUNNING or PAUSED VM"""
    return render.change(services().vms.act(vm_id, Action.STOP, caller()))


@blp.post("/vms/<vm:vm_id>/restart")
@blp.needs(Permission.CHANGE)
@blp.takes(RestartSchema(), example={"type": "hard"}, required=False)
@blp.changes(200)
@blp.refuses(*CHANGE, *CLOUD)
def restart_vm(how: dict[str, str], vm_id: str) -> Response:
    """Restart a RUNNING VM, or one in ERROR that ever ran"""
    hard = {"soft": False, "hard": True}.get(how.get("type", ""))
    return render.change(services().vms.act(vm_id, Action.RESTART, caller(), hard=hard))


@blp.post("/vms/<vm:vm_id>/pause")
@blp.needs(Permission.CHANGE)
@blp.changes(200)
@blp.refuses(*CHANGE, *CLOUD)
def pause_vm(vm_id: str) -> Response:
    """Pause a RUNNING VM"""
    return render.change(services().vms.act(vm_id, Action.PAUSE, caller()))


@blp.post("/vms/<vm:vm_id>/resume")
@blp.needs(Permission.CHANGE)
@blp.changes(200)
@blp.refuses(*CHANGE, *CLOUD)
def resume_vm(vm_id: str) -> Response:
    """Resume a PAUSED VM"""
    return render.change(services().vms.act(vm_id, Action.RESUME, caller()))
