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
from vmapi.domain.quota import KINDS, UNLIMITED, Amounts, Quotas
from vmapi.errors import QuotaExceeded
from vmapi.store.database import lock
from vmapi.store.tables import IS_UNFINISHED, operations, vms

OF = bindparam("of", type_=String)
WORDS = {"vms": "VMs", "vcpus": "vCPUs", "ram_mb": "MB of RAM"}


def _sums(table: FromClause, *which: ColumnElement[bool]) -> Select[Any]:
    sizes = [func.coalesce(func.sum(table.c[name]), 0).label(name) for name in KINDS[1:]]
    return select(func.count().label("vms"), *sizes).select_from(table).where(*which)


# a new VM may be seen before its operation knows of it
SEEN = or_(vms.c.id == operations.c.vm_id, vms.c.operation_id == operations.c.id)
# one statement, so that no VM is missed on its way from the one table to the other
USED = union_all(
    _sums(vms, vms.c.project == OF, vms.c.deleted_at.is_(None)),
    _sums(
        operations,
        operations.c.project == OF,
        operations.c.id != bindparam("but", type_=String),
        operations.c.action == Action.CREATE,
        IS_UNFINISHED,
        ~exists().where(SEEN),
    ),
)


def queue(connection: Connection, operation: Operation, quotas: Quotas) -> None:
    """Let the creates of a project that has a quota be kept one after the other."""
    if operation.action is Action.CREATE and quotas.of(operation.project) != UNLIMITED:
        lock(connection, f"quota {operation.project}")


def check(connection: Connection, operation: Operation, quotas: Quotas) -> None:
    """See that a create which was just kept has room. Raises QuotaExceeded."""
    limits = quotas.of(operation.project)
    if operation.action is not Action.CREATE or limits == UNLIMITED:
        return
    asked = asdict(Amounts(1, operation.vcpus or 0, operation.ram_mb or 0))
    taken = asdict(used(connection, operation.project, but=operation.id))
    said = [
        f"{limit} {WORDS[kind]}, {taken[kind]} are used and {asked[kind]} asked for"
        for kind, limit in asdict(limits).items()
        if limit is not None and taken[kind] + asked[kind] > limit
    ]
    if said:
        raise QuotaExceeded(f"Project {operation.project} may have {'; '.join(said)}.")


def used(connection: Connection, project: str, but: str = "") -> Amounts:
    """Return what a project has used, `but` for one operation."""
    rows = connection.execute(USED, {"of": project, "but": but}).all()
    return Amounts(*(int(sum(column)) for column in zip(*rows, strict=True)))
