"""What is under way, laid over what the cloud says of a VM: what the inventory shows."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, or_, select

from vmapi.domain.event import EventKind
from vmapi.domain.lifecycle import Action, Status, Task
from vmapi.domain.operation import Operation
from vmapi.domain.snapshot import VMSnapshot
from vmapi.domain.vm import VM
from vmapi.store import events
from vmapi.store.conflicts import VMRevisionConflict
from vmapi.store.database import db_now
from vmapi.store.inventory.age import SNAPSHOT_COLUMNS, snapshot_from_row
from vmapi.store.mappers import event as event_rows
from vmapi.store.mappers import vm as vm_rows
from vmapi.store.tables import HAS_NO_VM, IS_UNFINISHED, operations, vms

SELECT_VM_FOR_UPDATE = select(vms).where(vms.c.id == bindparam("vm_id")).with_for_update()
UPDATE_LIVE_VM = vms.update().where(vms.c.id == bindparam("of"), vms.c.deleted_at.is_(None))
NEW_TASK = bindparam("to", type_=vms.c.task.type)
SHOW_TASK = (
    UPDATE_LIVE_VM.where(
        vms.c.task.is_distinct_from(NEW_TASK), vms.c.task.is_distinct_from(Action.DELETE.task)
    )
    .where(
        or_(
            NEW_TASK.is_not_distinct_from(Action.DELETE.task),
            vms.c.task.is_distinct_from(Action.CREATE.task),
        )
    )
    .values(task=NEW_TASK, revision=vms.c.revision + 1)
    .returning(*SNAPSHOT_COLUMNS)
)
RAISE_FENCE = UPDATE_LIVE_VM.values(min_observed_at=db_now())
INSERT_EXPECTED_VM = vms.insert().values(min_observed_at=db_now())
HAS_KNOWN_ACTION = operations.c.action.in_(list(Action))
SELECT_TAGGED = select(vms.c.id).where(vms.c.operation_id == bindparam("mark")).order_by(vms.c.id)


def actions_in_progress(connection: Connection, vms: Sequence[VM]) -> dict[str, Action]:
    """Return what is under way with these VMs: the newest, so a delete before what it ended.

    A create that is not answered yet is under way with what has its mark in its project.
    """
    marked: defaultdict[tuple[str | None, str | None], list[str]] = defaultdict(list)
    for vm in vms:
        marked[vm.operation_id, vm.project].append(vm.id)
    known = operations.c.vm_id.in_([vm.id for vm in vms])
    made = HAS_NO_VM & operations.c.id.in_([mark for mark, _ in marked if mark])
    asked = (operations.c[name] for name in ("id", "project", "vm_id", "action"))
    # one of a newer version is nothing that this one could show
    query = select(*asked).where(IS_UNFINISHED, or_(known, made), HAS_KNOWN_ACTION)
    found: dict[str, Action] = {}
    for row in connection.execute(query.order_by(operations.c.created_at, operations.c.id)):
        vm_ids = [row.vm_id] if row.vm_id else marked[row.id, row.project]
        found |= dict.fromkeys(vm_ids, Action(row.action))
    return found


def overlaid_status(vm: VM, action: Action | None) -> tuple[Status, Task | None]:
    """Return status and task of a VM as they are shown while an action is under way."""
    if action is None or vm.status is Status.DELETED:
        return vm.status, vm.task
    return Status.BUILDING if action is Action.CREATE else vm.status, action.task


def check_vm_revision(
    connection: Connection, operation: Operation, *, lock_row: bool = False
) -> None:
    """Raise StaleVM unless the VM is shown as it was when an operation on it was asked for.

    `hold` keeps it so until the transaction ends.
    """
    if operation.vm_revision is None:
        return
    query = select(vms.c.revision).where(vms.c.id == operation.vm_id, vms.c.deleted_at.is_(None))
    if lock_row:
        query = query.with_for_update()
    if connection.execute(query).scalar() != operation.vm_revision:
        raise VMRevisionConflict(operation.vm_id)


def on_begun(connection: Connection, operation: Operation) -> VMSnapshot | None:
    """Show that an operation has begun; return its VM. Raises StaleVM.

    Return None for a VM that was shown so already, or that is shown as being made or deleted: a
    delete comes after all but another one.
    """
    check_vm_revision(connection, operation, lock_row=True)
    if operation.vm_id is not None:
        of = {"of": operation.vm_id, "to": operation.action.task}
        if row := connection.execute(SHOW_TASK, of).first():
            _append_event(connection, row._asdict())
            return snapshot_from_row(row)
    return None


def on_accepted(
    connection: Connection, operation: Operation, *, vm_observed: bool
) -> VMSnapshot | None:
    """Let no look that began before now tell of a VM: it may not show what was just sent.

    Return a VM that was just made. Raises IntegrityError for one that is known by now, if that was
    not said: it was `seen`.
    """
    if operation.action is Action.CREATE:
        expected = operation.expected_vm
        if expected is not None and expected.id and not vm_observed:
            return _insert_expected(connection, expected)
        # it may not have been known yet whose it is
        refresh(connection, operation.vm_id)
    connection.execute(RAISE_FENCE, {"of": operation.vm_id})
    return None


def on_finished(connection: Connection, operation: Operation) -> None:
    """Show that an operation is over; no look that began before may show what was before."""
    vm_ids: Sequence[str] = [operation.vm_id] if operation.vm_id else []
    if operation.vm_id is None:
        vm_ids = connection.execute(SELECT_TAGGED, {"mark": operation.id}).scalars().all()
    for vm_id in vm_ids:
        refresh(connection, vm_id)
        connection.execute(RAISE_FENCE, {"of": vm_id})


def refresh(connection: Connection, vm_id: str | None) -> None:
    """Show what is under way with a VM by now, if it is known."""
    row = connection.execute(SELECT_VM_FOR_UPDATE, {"vm_id": vm_id}).first()
    if row is None:
        return
    seen = vm_rows.observed_vm(row)
    status, task = overlaid_status(seen, actions_in_progress(connection, [seen]).get(row.id))
    if (status, task) != (row.status, row.task):
        new = {"status": status, "task": task, "revision": row.revision + 1}
        connection.execute(vms.update().where(vms.c.id == vm_id).values(new))
        _append_event(connection, {**row._asdict(), **new})


def _insert_expected(connection: Connection, vm: VM) -> VMSnapshot:
    # any look that begins from now on knows better
    shown = {
        "status": vm.status,
        "task": vm.task,
        "revision": 1,
        "observation_started_at": 0,
        "observation_finished_at": 0,
    }
    new = {**vm_rows.to_row(vm), **shown}
    connection.execute(INSERT_EXPECTED_VM, new)
    _append_event(connection, new, EventKind.VM_CREATED)
    return VMSnapshot(vm, 1, 0.0)


def _append_event(
    connection: Connection, shown: dict[str, Any], kind: EventKind = EventKind.VM_CHANGED
) -> None:
    events.append(connection, event_rows.vm_event_to_row(kind, shown))
