"""What is under way, laid over what the cloud says of a VM: what the inventory shows."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, or_, select

from vmapi.domain.event import EventKind
from vmapi.domain.lifecycle import Action, Status, Task
from vmapi.domain.operation import Operation
from vmapi.domain.snapshot import Sighting
from vmapi.domain.vm import VM
from vmapi.store import events
from vmapi.store.conflicts import StaleVM
from vmapi.store.database import now
from vmapi.store.inventory.age import SEEN, sighting
from vmapi.store.mappers import event as event_rows
from vmapi.store.mappers import vm as vm_rows
from vmapi.store.tables import HAS_NO_VM, IS_UNFINISHED, operations, vms

ROW = select(vms).where(vms.c.id == bindparam("vm_id")).with_for_update()
LIVE = vms.update().where(vms.c.id == bindparam("of"), vms.c.deleted_at.is_(None))
TO = bindparam("to", type_=vms.c.task.type)
BEGUN = (
    LIVE.where(vms.c.task.is_distinct_from(TO), vms.c.task.is_distinct_from(Action.DELETE.task))
    .where(
        or_(
            TO.is_not_distinct_from(Action.DELETE.task),
            vms.c.task.is_distinct_from(Action.CREATE.task),
        )
    )
    .values(task=TO, revision=vms.c.revision + 1)
    .returning(*SEEN)
)
SENT = LIVE.values(floor=now())
MEET = vms.insert().values(floor=now())
IS_KNOWN = operations.c.action.in_(list(Action))
MARKED = select(vms.c.id).where(vms.c.operation_id == bindparam("mark")).order_by(vms.c.id)


def under_way(connection: Connection, seen: Sequence[VM]) -> dict[str, Action]:
    """Return what is under way with these VMs: the newest, so a delete before what it ended.

    A create that is not answered yet is under way with what has its mark in its project.
    """
    marked: defaultdict[tuple[str | None, str | None], list[str]] = defaultdict(list)
    for vm in seen:
        marked[vm.operation_id, vm.project].append(vm.id)
    known = operations.c.vm_id.in_([vm.id for vm in seen])
    made = HAS_NO_VM & operations.c.id.in_([mark for mark, _ in marked if mark])
    asked = (operations.c[name] for name in ("id", "project", "vm_id", "action"))
    # one of a newer version is nothing that this one could show
    query = select(*asked).where(IS_UNFINISHED, or_(known, made), IS_KNOWN)
    found: dict[str, Action] = {}
    for row in connection.execute(query.order_by(operations.c.created_at, operations.c.id)):
        vm_ids = [row.vm_id] if row.vm_id else marked[row.id, row.project]
        found |= dict.fromkeys(vm_ids, Action(row.action))
    return found


def laid(seen: VM, action: Action | None) -> tuple[Status, Task | None]:
    """Return status and task of a VM as they are shown while an action is under way."""
    if action is None or seen.status is Status.DELETED:
        return seen.status, seen.task
    return Status.BUILDING if action is Action.CREATE else seen.status, action.task


def check(connection: Connection, operation: Operation, *, hold: bool = False) -> None:
    """Raise StaleVM unless the VM is shown as it was when an operation on it was asked for.

    `hold` keeps it so until the transaction ends.
    """
    if operation.vm_revision is None:
        return
    query = select(vms.c.revision).where(vms.c.id == operation.vm_id, vms.c.deleted_at.is_(None))
    if hold:
        query = query.with_for_update()
    if connection.execute(query).scalar() != operation.vm_revision:
        raise StaleVM(operation.vm_id)


def begun(connection: Connection, operation: Operation) -> Sighting | None:
    """Show that an operation has begun; return its VM. Raises StaleVM.

    Return None for a VM that was shown so already, or that is shown as being made or deleted: a
    delete comes after all but another one.
    """
    check(connection, operation, hold=True)
    if operation.vm_id is not None:
        of = {"of": operation.vm_id, "to": operation.action.task}
        if row := connection.execute(BEGUN, of).first():
            _tell(connection, row._asdict())
            return sighting(row)
    return None


def sent(connection: Connection, operation: Operation, *, seen: bool) -> Sighting | None:
    """Let no look that began before now tell of a VM: it may not show what was just sent.

    Return a VM that was just made. Raises IntegrityError for one that is known by now, if that was
    not said: it was `seen`.
    """
    if operation.action is Action.CREATE:
        expected = operation.expected
        if expected is not None and expected.id and not seen:
            return _meet(connection, expected)
        # it may not have been known yet whose it is
        refresh(connection, operation.vm_id)
    connection.execute(SENT, {"of": operation.vm_id})
    return None


def ended(connection: Connection, operation: Operation) -> None:
    """Show that an operation is over; no look that began before may show what was before."""
    vm_ids: Sequence[str] = [operation.vm_id] if operation.vm_id else []
    if operation.vm_id is None:
        vm_ids = connection.execute(MARKED, {"mark": operation.id}).scalars().all()
    for vm_id in vm_ids:
        refresh(connection, vm_id)
        connection.execute(SENT, {"of": vm_id})


def refresh(connection: Connection, vm_id: str | None) -> None:
    """Show what is under way with a VM by now, if it is known."""
    row = connection.execute(ROW, {"vm_id": vm_id}).first()
    if row is None:
        return
    seen = vm_rows.observed(row)
    status, task = laid(seen, under_way(connection, [seen]).get(row.id))
    if (status, task) != (row.status, row.task):
        new = {"status": status, "task": task, "revision": row.revision + 1}
        connection.execute(vms.update().where(vms.c.id == vm_id).values(new))
        _tell(connection, {**row._asdict(), **new})


def _meet(connection: Connection, vm: VM) -> Sighting:
    # any look that begins from now on knows better
    shown = {"status": vm.status, "task": vm.task, "revision": 1, "begun": 0, "finished": 0}
    new = {**vm_rows.of_vm(vm), **shown}
    connection.execute(MEET, new)
    _tell(connection, new, EventKind.VM_CREATED)
    return Sighting(vm, 1, 0.0)


def _tell(
    connection: Connection, shown: dict[str, Any], kind: EventKind = EventKind.VM_CHANGED
) -> None:
    events.append(connection, event_rows.of_vm(kind, shown))
