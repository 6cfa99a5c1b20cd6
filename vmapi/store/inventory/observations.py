"""One observation of VMs: whether it is newer than what is kept, and keeping it.

One that began after another had been kept is newer, whatever the cloud's clocks say. Of two that
overlap, the one that says DELETED, for nothing comes back from that; else the one of which the
cloud says that it was changed later; within one second of its, the one that shows nothing under
way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from importlib import import_module
from typing import Any

from sqlalchemy import Connection, Executable, Row, bindparam, select

from vmapi.domain.event import EventKind
from vmapi.domain.lifecycle import Action, Status
from vmapi.domain.vm import VM
from vmapi.store import events
from vmapi.store.database import db_time
from vmapi.store.inventory import overlay
from vmapi.store.mappers import event as event_rows
from vmapi.store.mappers import vm as vm_rows
from vmapi.store.tables import vms

UPDATED_COLUMNS = (
    *("name", "flavor", "image", "created_at", "updated_at", "deleted_at", "project", "vcpus"),
    *(
        "ram_mb",
        "operation_id",
        "observed",
        "status",
        "task",
        "revision",
        "observation_started_at",
        "observation_finished_at",
    ),
)
UPDATE_VM = (
    vms.update()
    .where(vms.c.id == bindparam("of"))
    .values({name: bindparam(name, type_=vms.c[name].type) for name in UPDATED_COLUMNS})
)
SELECT_VMS_FOR_UPDATE = (
    select(vms)
    .where(vms.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(vms.c.id)
    .with_for_update()
)

Values = dict[str, Any]


def apply(
    connection: Connection, seen: Sequence[VM], started_at: int
) -> tuple[set[str], Sequence[VM]]:
    """Keep what a look saw that began then, in the order of the ids.

    Return the ids of those that are kept so now, and the VMs that somebody else was just first to
    see: what is known of them is to be looked at in a transaction that begins later, for rows that
    are locked after others were written are locked out of order.
    """
    known = {row.id: row for row in _select_for_update(connection, [vm.id for vm in seen])}
    whole = [vm_rows.fill_unknown(vm, known[vm.id]) if vm.id in known else vm for vm in seen]
    actions = overlay.actions_in_progress(connection, whole)
    same, kept = [], set()
    new: list[Values] = []
    changes: list[Values] = []
    happened: list[Values] = []
    for vm in seen:
        row, action = known.get(vm.id), actions.get(vm.id)
        if row is None:
            new.append(_insert_values(vm, action, started_at))
            happened += _events_for(new[-1], None)
        elif not _is_newer(row, vm, started_at):
            continue
        elif _is_unchanged(row, vm, action):
            same.append(vm.id)
        else:
            changes.append(_update_values(row, vm, action, started_at))
            happened += _events_for(changes[-1], row)
        kept.add(vm.id)
    late = _write(connection, new, changes, happened)
    if same:
        seen_again = {
            "observation_started_at": started_at,
            "observation_finished_at": db_time(connection),
        }
        connection.execute(vms.update().where(vms.c.id.in_(same)).values(seen_again))
    return kept - late, [vm for vm in seen if vm.id in late]


def apply_deletion(connection: Connection, vm_id: str, at: datetime, observed_at: int) -> None:
    """Keep that the cloud had told by then that it knows a VM no more."""
    for row in _select_for_update(connection, [vm_id]):
        # a look that began later saw it again
        if row.deleted_at is None and observed_at >= row.observation_started_at:
            gone = vm_rows.as_deleted(vm_rows.observed_vm(row), at)
            change = _update_values(row, gone, None, observed_at)
            _write(connection, [], [change], _events_for(change, row))


def _is_newer(row: Row[Any], vm: VM, started_at: int) -> bool:
    if started_at < row.min_observed_at:
        return False
    if started_at >= row.observation_finished_at:
        return True
    # within a second of the cloud's, what is under way comes before what it ends in
    ours = (vm.status is Status.DELETED, vm.updated_at, vm.task is None, started_at)
    rests = row.observed["task"] is None
    return ours >= (row.deleted_at is not None, row.updated_at, rests, row.observation_started_at)


def _is_unchanged(row: Row[Any], vm: VM, action: Action | None) -> bool:
    shown = (row.status, row.task) == overlay.overlaid_status(vm, action)
    return shown and vm_rows.to_row(vm_rows.fill_unknown(vm, row))["observed"] == row.observed


def _insert_values(vm: VM, action: Action | None, started_at: int) -> Values:
    status, task = overlay.overlaid_status(vm, action)
    moments = {"observation_started_at": started_at, "min_observed_at": 0}
    return {**vm_rows.to_row(vm), **moments, "status": status, "task": task, "revision": 1}


def _update_values(row: Row[Any], vm: VM, action: Action | None, started_at: int) -> Values:
    status, task = overlay.overlaid_status(vm, action)
    vm = vm_rows.fill_unknown(vm, row)
    moves = (
        replace(vm, status=status, task=task).public_fields != vm_rows.from_row(row).public_fields
    )
    revision = row.revision + moves
    shown = {"status": status, "task": task, "revision": revision}
    return {**vm_rows.to_row(vm), **shown, "observation_started_at": started_at}


def _events_for(new: Values, before: Row[Any] | None) -> Sequence[Values]:
    if before is not None and before.revision == new["revision"]:
        return []
    gone = new["deleted_at"] is not None
    was_there = before is not None and before.deleted_at is None
    if gone and before is not None and not was_there:
        # it is deleted once, whatever else is learnt of it
        return []
    kind = EventKind.VM_CHANGED if was_there else EventKind.VM_CREATED
    return [event_rows.vm_event_to_row(EventKind.VM_DELETED if gone else kind, new)]


def _write(
    connection: Connection,
    new: Sequence[Values],
    changes: Sequence[Values],
    happened: Sequence[Values],
) -> set[str]:
    """Write what is new or changed, and what happened; return what is new but there already."""
    if not new and not changes:
        return set()
    at = {"observation_finished_at": db_time(connection)}
    late = {each["id"] for each in new}
    if new:
        insert = _insert_statement(connection.dialect.name)
        late -= set(connection.execute(insert, [{**each, **at} for each in new]).scalars())
    if changes:
        connection.execute(UPDATE_VM, [{**each, **at, "of": each["id"]} for each in changes])
    events.append(connection, *(each for each in happened if each["vm_id"] not in late))
    return late


@cache
def _insert_statement(dialect: str) -> Executable:
    # of the dialects only the one in use is loaded
    insert = import_module(f"sqlalchemy.dialects.{dialect}").insert(vms)
    made: Executable = insert.on_conflict_do_nothing(index_elements=[vms.c.id]).returning(vms.c.id)
    return made


def _select_for_update(connection: Connection, ids: Sequence[str]) -> Iterator[Row[Any]]:
    yield from connection.execute(SELECT_VMS_FOR_UPDATE, {"ids": ids})
