"""One observation of VMs: whether it is newer than what is kept, and keeping it.

One that began after another had been kept is newer, whatever the cloud's clocks say. Of two that
overlap, the one that says DELETED, for nothing comes back from that; else the one of which the
cloud says that it was changed later.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from vmapi.models.event import EventKind
from vmapi.models.lifecycle import Action, Status
from vmapi.models.vm import VM
from vmapi.store import event_rows, events, overlay, vm_rows
from vmapi.store.database import now, present
from vmapi.store.tables import vms


def keep(connection: Connection, seen: Sequence[VM], begun: int) -> set[str]:
    """Keep what a look saw that began then; return the ids of those that are kept so now."""
    known = {row.id: row for row in _locked(connection, [vm.id for vm in seen])}
    actions = overlay.under_way(connection, [vm.id for vm in seen])
    same, kept = [], set()
    happened: list[dict[str, Any]] = []
    for vm in seen:
        row, action = known.get(vm.id), actions.get(vm.id)
        if row is None:
            happened += _add(connection, vm, action, begun)
        elif not _is_newer(row, vm, begun):
            continue
        elif _shows(row, vm, action):
            same.append(vm.id)
        else:
            happened += _change(connection, row, vm, action, begun)
        kept.add(vm.id)
    events.append(connection, *happened)
    if same:
        seen_again = {"begun": begun, "finished": present(connection)}
        connection.execute(vms.update().where(vms.c.id.in_(same)).values(seen_again))
    return kept


def end(connection: Connection, vm_id: str, at: datetime, told: int) -> None:
    """Keep that the cloud had told by then that it knows a VM no more."""
    for row in _locked(connection, [vm_id]):
        # a look that began later saw it again
        if row.deleted_at is None and told >= row.begun:
            gone = vm_rows.deleted(vm_rows.observed(row), at)
            events.append(connection, *_change(connection, row, gone, None, told))


def expect(connection: Connection, vm: VM) -> None:
    """Keep a VM that nobody has seen yet. Raises IntegrityError where somebody has."""
    actions = overlay.under_way(connection, [vm.id])
    events.append(connection, *_add(connection, vm, actions.get(vm.id), 0))


def _is_newer(row: Row[Any], vm: VM, begun: int) -> bool:
    if begun < row.floor:
        return False
    if begun >= row.finished:
        return True
    ends = vm.status is Status.DELETED
    return (ends, vm.updated_at, begun) >= (row.deleted_at is not None, row.updated_at, row.begun)


def _shows(row: Row[Any], vm: VM, action: Action | None) -> bool:
    shown = (row.status, row.task) == overlay.laid(vm, action)
    return shown and vm_rows.of_vm(vm_rows.completed(vm, row))["observed"] == row.observed


def _add(
    connection: Connection, vm: VM, action: Action | None, begun: int
) -> Iterable[dict[str, Any]]:
    status, task = overlay.laid(vm, action)
    moments = {"begun": begun, "finished": now() if begun else 0, "floor": 0}
    row = {**vm_rows.of_vm(vm), **moments, "status": status, "task": task, "revision": 1}
    connection.execute(vms.insert().values(row))
    return _told(row, None)


def _change(
    connection: Connection, row: Row[Any], vm: VM, action: Action | None, begun: int
) -> Iterable[dict[str, Any]]:
    status, task = overlay.laid(vm, action)
    vm = vm_rows.completed(vm, row)
    new = {**vm_rows.of_vm(vm), "begun": begun, "finished": now(), "status": status, "task": task}
    moves = replace(vm, status=status, task=task).face != vm_rows.vm(row).face
    if moves:
        new["revision"] = row.revision + 1
    connection.execute(vms.update().where(vms.c.id == vm.id).values(new))
    return _told(new, row) if moves else []


def _told(new: dict[str, Any], before: Row[Any] | None) -> Iterable[dict[str, Any]]:
    gone = new["deleted_at"] is not None
    was_there = before is not None and before.deleted_at is None
    if gone and before is not None and not was_there:
        # it is deleted once, whatever else is learnt of it
        return []
    kind = EventKind.VM_CHANGED if was_there else EventKind.VM_CREATED
    return [event_rows.of_vm(EventKind.VM_DELETED if gone else kind, new)]


def _locked(connection: Connection, ids: Sequence[str]) -> Iterator[Row[Any]]:
    query = select(vms).where(vms.c.id.in_(ids)).order_by(vms.c.id).with_for_update()
    yield from connection.execute(query)
