"""The columns of each kind of record."""

from typing import Any

from vmapi_client.cli.output.table import Column, View, format_age
from vmapi_client.models import VM, AuditEntry, Event, Flavor, Image, Network, Operation

VM_VIEW = View(
    (
        Column("NAME", "name"),
        Column("STATUS", "status"),
        Column("TASK", "task"),
        Column("IP", "ip_address"),
        Column("FLAVOR", "flavor", shrinks=True),
        Column("IMAGE", "image", shrinks=True),
        Column("AGE", "created_at", convert=format_age),
        Column("ID", "id", wide=True),
        Column("METADATA", "metadata", wide=True),
        Column("ACTIONS", "allowed_actions", wide=True),
        Column("FAULT", "fault.message", wide=True),
    ),
    model=VM,
)

OPERATION_VIEW = View(
    (
        Column("ID", "id"),
        Column("ACTION", "action"),
        Column("STATUS", "status"),
        Column("VM", "vm_id", shrinks=True),
        Column("AGE", "created_at", convert=format_age),
        Column("ERROR", "error.code", shrinks=True),
        Column("BY", "requested_by", wide=True),
        Column("REQUEST", "request_id", wide=True),
        Column("DETAIL", "error.detail", wide=True),
    ),
    key="id",
    model=Operation,
)

FLAVOR_VIEW = View(
    (
        Column("NAME", "name"),
        Column("VCPUS", "vcpus"),
        Column("RAM_MB", "ram_mb"),
        Column("DISK_GB", "disk_gb"),
        Column("ID", "id", wide=True),
    ),
    model=Flavor,
)

IMAGE_VIEW = View(
    (
        Column("NAME", "name"),
        Column("STATUS", "status"),
        Column("MIN_DISK_GB", "min_disk_gb"),
        Column("MIN_RAM_MB", "min_ram_mb"),
        Column("ID", "id", wide=True),
    ),
    model=Image,
)

NETWORK_VIEW = View((Column("NAME", "name"), Column("ID", "id")), model=Network)

QUOTA_VIEW = View(
    (
        Column("RESOURCE", "resource"),
        Column("USED", "used"),
        Column("LIMIT", "limit"),
        Column("LIMITED_BY", "limited_by"),
    ),
    key="resource",
)

AUDIT_VIEW = View(
    (
        Column("AT", "at"),
        Column("USER", "user", shrinks=True),
        Column("ACTION", "action"),
        Column("OUTCOME", "outcome"),
        Column("VM", "vm_id", shrinks=True),
        Column("CODE", "code", shrinks=True),
        Column("PROJECT", "project", wide=True),
        Column("ADDRESS", "address", wide=True),
        Column("REQUEST", "request_id", wide=True),
        Column("ID", "id", wide=True),
    ),
    key="id",
    model=AuditEntry,
)


def describe_subject(document: Any) -> str:
    """Return the subject of an event: the name of the VM, or the action of the operation."""
    if document.get("vm"):
        vm = document["vm"]
        task = f" {vm['task']}" if vm["task"] else ""
        return f"{vm['name']} {vm['status']}{task}"
    operation = document.get("operation")
    return str(operation["action"]) if operation else ""


EVENT_VIEW = View(
    (
        Column("AT", "at"),
        Column("KIND", "kind"),
        Column("VM", "vm_id", shrinks=True),
        Column("SUBJECT", "subject", shrinks=True),
        Column("ID", "id", wide=True),
    ),
    key="id",
    model=Event,
)

CONTEXT_VIEW = View(
    (
        Column("CURRENT", "current"),
        Column("NAME", "name"),
        Column("URL", "url", shrinks=True),
        Column("TOKEN", "token", shrinks=True),
    )
)
