"""Quota usage in SQL: live VMs of a project and unfinished creates without a VM."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    FromClause,
    Select,
    String,
    TextClause,
    bindparam,
    exists,
    func,
    or_,
    select,
    text,
    union_all,
)

from vmapi.domain.lifecycle import Action
from vmapi.domain.operation import Operation
from vmapi.domain.quota import NO_RESOURCE_LIMITS, RESOURCE_KINDS, QuotaConfig, ResourceUsage
from vmapi.errors import QuotaExceeded
from vmapi.store.database import advisory_lock
from vmapi.store.tables import IS_UNFINISHED, USAGE_CONDITION, operations, vms

PROJECT_PARAM = bindparam("of_project", type_=String)
RESOURCE_LABELS = {"vms": "VMs", "vcpus": "vCPUs", "ram_mb": "MB of RAM"}


def _select_sums(table: FromClause, *conditions: ColumnElement[bool] | TextClause) -> Select[Any]:
    sums = [func.coalesce(func.sum(table.c[name]), 0).label(name) for name in RESOURCE_KINDS[1:]]
    return select(func.count().label("vms"), *sums).select_from(table).where(*conditions)


# a VM can be observed before its operation knows the id
VM_IS_OBSERVED = or_(vms.c.id == operations.c.vm_id, vms.c.operation_id == operations.c.id)
# one statement, so that it counts a VM exactly once while the VM moves from create to inventory
SELECT_USAGE = union_all(
    _select_sums(vms, vms.c.project == PROJECT_PARAM, text(USAGE_CONDITION)),
    _select_sums(
        operations,
        # SQLite would search by the index of the project, and read all of its operations
        operations.c.project.concat("") == PROJECT_PARAM,
        operations.c.id != bindparam("excluded_id", type_=String),
        operations.c.action == Action.CREATE,
        IS_UNFINISHED,
        ~exists().where(VM_IS_OBSERVED),
    ),
)


def serialize_creates(connection: Connection, operation: Operation, quotas: QuotaConfig) -> None:
    """Let one transaction at a time insert a create of a project that has limits."""
    limits = quotas.limits_for(operation.project)
    if operation.action is Action.CREATE and limits != NO_RESOURCE_LIMITS:
        advisory_lock(connection, f"quota {operation.project}")


def check_quota(connection: Connection, operation: Operation, quotas: QuotaConfig) -> None:
    """Check an inserted create against the limits. Raises QuotaExceeded."""
    limits = quotas.limits_for(operation.project)
    if operation.action is not Action.CREATE or limits == NO_RESOURCE_LIMITS:
        return
    requested = asdict(ResourceUsage(1, operation.vcpus or 0, operation.ram_mb or 0))
    used = asdict(get_usage(connection, operation.project, exclude_operation_id=operation.id))
    excesses = [
        f"{limit} {RESOURCE_LABELS[kind]}, {used[kind]} are used and {requested[kind]} asked for"
        for kind, limit in asdict(limits).items()
        if limit is not None and used[kind] + requested[kind] > limit
    ]
    if excesses:
        raise QuotaExceeded(f"Project {operation.project} may have {'; '.join(excesses)}.")


def get_usage(
    connection: Connection, project: str, exclude_operation_id: str = ""
) -> ResourceUsage:
    """Return the resources that a project uses, without those of one operation."""
    params = {"of_project": project, "excluded_id": exclude_operation_id}
    rows = connection.execute(SELECT_USAGE, params).all()
    return ResourceUsage(*(int(sum(column)) for column in zip(*rows, strict=True)))
