"""How much of its quota a project has used: its live VMs, and those that are just being made."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    String,
    bindparam,
    exists,
    func,
    or_,
    select,
    union_all,
)

from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import Operation
from vmapi.domain.quota import NO_RESOURCE_LIMITS, RESOURCE_KINDS, QuotaConfig, ResourceUsage
from vmapi.errors import QuotaExceeded
from vmapi.store.database import advisory_lock
from vmapi.store.tables import IS_UNFINISHED, operations, vms

PROJECT_PARAM = bindparam("of", type_=String)
RESOURCE_LABELS = {"vms": "VMs", "vcpus": "vCPUs", "ram_mb": "MB of RAM"}


def _sums(table: FromClause, *which: ColumnElement[bool]) -> Select[Any]:
    sizes = [func.coalesce(func.sum(table.c[name]), 0).label(name) for name in RESOURCE_KINDS[1:]]
    return select(func.count().label("vms"), *sizes).select_from(table).where(*which)


# a new VM may be seen before its operation knows of it
VM_IS_OBSERVED = or_(vms.c.id == operations.c.vm_id, vms.c.operation_id == operations.c.id)
# one statement, so that no VM is missed on its way from the one table to the other
SELECT_USAGE = union_all(
    _sums(vms, vms.c.project == PROJECT_PARAM, vms.c.deleted_at.is_(None)),
    _sums(
        operations,
        operations.c.project == PROJECT_PARAM,
        operations.c.id != bindparam("but", type_=String),
        operations.c.action == Action.CREATE,
        IS_UNFINISHED,
        ~exists().where(VM_IS_OBSERVED),
    ),
)


def serialize_creates(connection: Connection, operation: Operation, quotas: QuotaConfig) -> None:
    """Let the creates of a project that has a quota be kept one after the other."""
    if (
        operation.action is Action.CREATE
        and quotas.limits_for(operation.project) != NO_RESOURCE_LIMITS
    ):
        advisory_lock(connection, f"quota {operation.project}")


def check_quota(connection: Connection, operation: Operation, quotas: QuotaConfig) -> None:
    """See that a create which was just kept has room. Raises QuotaExceeded."""
    limits = quotas.limits_for(operation.project)
    if operation.action is not Action.CREATE or limits == NO_RESOURCE_LIMITS:
        return
    asked = asdict(ResourceUsage(1, operation.vcpus or 0, operation.ram_mb or 0))
    taken = asdict(get_usage(connection, operation.project, exclude_operation_id=operation.id))
    said = [
        f"{limit} {RESOURCE_LABELS[kind]}, {taken[kind]} are used and {asked[kind]} asked for"
        for kind, limit in asdict(limits).items()
        if limit is not None and taken[kind] + asked[kind] > limit
    ]
    if said:
        raise QuotaExceeded(f"Project {operation.project} may have {'; '.join(said)}.")


def get_usage(
    connection: Connection, project: str, exclude_operation_id: str = ""
) -> ResourceUsage:
    """Return what a project has used, `but` for one operation."""
    rows = connection.execute(SELECT_USAGE, {"of": project, "but": exclude_operation_id}).all()
    return ResourceUsage(*(int(sum(column)) for column in zip(*rows, strict=True)))
