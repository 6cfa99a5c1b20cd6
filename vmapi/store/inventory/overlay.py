"""The overlay: the task of an unfinished operation on top of the observed VM.

Observations and operations both change the status and task of a VM. The row holds the observed VM
as a document; `status` and `task` are the observed ones with the overlay applied. Callers run these
functions in the transaction that changes the operation or the observation, so that no reader sees
one without the other. Each visible change moves the revision and appends an event.
"""

from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any

from sqlalchemy import Connection, Executable, Row, bindparam, func, or_, select

from vmapi.domain.event import EventKind
from vmapi.domain.lifecycle import Action, Status, Task
from vmapi.domain.operation import Operation
from vmapi.domain.snapshot import VMSnapshot
from vmapi.domain.vm import VM
from vmapi.store import events
from vmapi.store.clock import db_now, past_time, sql_past_time, to_seconds
from vmapi.store.conflicts import VMRevisionConflict
from vmapi.store.mappers import event as event_mapper
from vmapi.store.mappers import vm as vm_mapper
from vmapi.store.tables import HAS_NO_VM, IS_UNFINISHED, operations, sync_state, vms

SELECT_SYNCED_AT = select(func.max(sql_past_time(sync_state.c.started_at))).scalar_subquery()
"""The time up to which all changes are known; NULL before the first sync."""

SNAPSHOT_COLUMNS = (*vms.c, db_now().label("now"), SELECT_SYNCED_AT.label("synced_at"))
"""The columns that `_snapshot_from_row` reads."""

SELECT_VMS_FOR_UPDATE = (
    select(vms)
    .where(vms.c.id.in_(bindparam("vm_ids", expanding=True)))
    # rows of VMs are locked in the order of their ids
    .order_by(vms.c.id)
    .with_for_update()
)
UPDATE_OVERLAY = (
    vms.update()
    .where(vms.c.id == bindparam("of"))
    .values({name: bindparam(f"new_{name}") for name in ("status", "task", "revision")})
)
UPDATE_OVERLAY_AND_FENCE = UPDATE_OVERLAY.values(min_observed_at=db_now())
UPDATE_LIVE_VM = vms.update().where(vms.c.id == bindparam("of"), vms.c.deleted_at.is_(None))
NEW_TASK = bindparam("new_task", type_=vms.c.task.type)
SHOW_TASK = (
    UPDATE_LIVE_VM.where(
        vms.c.task.is_distinct_from(NEW_TASK),
        vms.c.task.is_distinct_from(Action.DELETE.task),
        or_(
            NEW_TASK.is_not_distinct_from(Action.DELETE.task),
            vms.c.task.is_distinct_from(Action.CREATE.task),
        ),
    )
    .values(task=NEW_TASK, revision=vms.c.revision + 1)
    .returning(*SNAPSHOT_COLUMNS)
)
RAISE_FENCE = UPDATE_LIVE_VM.values(min_observed_at=db_now())
IS_OF_VMS = operations.c.vm_id.in_(bindparam("vm_ids", expanding=True))
IS_TAGGED = HAS_NO_VM & operations.c.id.in_(bindparam("tags", expanding=True))
# this version cannot show an action of a newer one
HAS_KNOWN_ACTION = operations.c.action.in_(list(Action))
SELECT_ACTIONS = (
    select(*(operations.c[name] for name in ("id", "project", "vm_id", "action")))
    .where(IS_UNFINISHED, or_(IS_OF_VMS, IS_TAGGED), HAS_KNOWN_ACTION)
    .order_by(operations.c.created_at, operations.c.id)
)
SELECT_TAGGED = select(vms.c.id).where(vms.c.operation_id == bindparam("tag")).order_by(vms.c.id)


@cache
def insert_missing_vms(dialect: str, times: Sequence[str]) -> Executable:
    """Return the statement that inserts the VMs without a row, and returns their ids.

    It sets the columns `times` to the time of the database's clock.
    """
    # import the dialect in use only
    insert = import_module(f"sqlalchemy.dialects.{dialect}").insert(vms)
    insert = insert.values({"min_observed_at": 0, **dict.fromkeys(times, db_now())})
    statement: Executable = insert.on_conflict_do_nothing(index_elements=[vms.c.id]).returning(
        vms.c.id
    )
    return statement


def actions_in_progress(connection: Connection, observed: Sequence[VM]) -> dict[str, Action]:
    """Return the action of the newest unfinished operation of each VM that has one.

    A create without a response applies to the VMs of its project that carry its tag.
    """
    ids_by_tag: defaultdict[tuple[str | None, str | None], list[str]] = defaultdict(list)
    for vm in observed:
        ids_by_tag[vm.operation_id, vm.project].append(vm.id)
    params = {
        "vm_ids": [vm.id for vm in observed],
        "tags": [tag for tag, _ in ids_by_tag if tag],
    }
    actions: dict[str, Action] = {}
    # oldest first: a delete overwrites the operation that it superseded
    for row in connection.execute(SELECT_ACTIONS, params):
        vm_ids = [row.vm_id] if row.vm_id else ids_by_tag[row.id, row.project]
        actions |= dict.fromkeys(vm_ids, Action(row.action))
    return actions


def overlaid_status(vm: VM, action: Action | None) -> tuple[Status, Task | None]:
    """Return the status and task of an observed VM with an action in progress."""
    if action is None or vm.status is Status.DELETED:
        return vm.status, vm.task
    return Status.BUILDING if action is Action.CREATE else vm.status, action.task


def check_vm_revision(
    connection: Connection, vm_id: str | None, vm_revision: int | None, *, lock_row: bool = False
) -> None:
    """Check that the VM has the required revision; None requires none.

    `lock_row`: keep the revision until the transaction ends. Raises VMRevisionConflict.
    """
    if vm_revision is None:
        return
    query = select(vms.c.revision).where(vms.c.id == vm_id, vms.c.deleted_at.is_(None))
    if lock_row:
        query = query.with_for_update()
    if connection.execute(query).scalar() != vm_revision:
        raise VMRevisionConflict(vm_id)


def on_begun(
    connection: Connection, operation: Operation, vm_revision: int | None
) -> VMSnapshot | None:
    """Show the task of a new operation and return the VM. Raises VMRevisionConflict.

    Returns None if the VM shows the task already, is unknown, or shows a task with precedence: a
    delete precedes any other, and a create any but a delete.
    """
    check_vm_revision(connection, operation.vm_id, vm_revision, lock_row=True)
    if operation.vm_id is not None:
        params = {"of": operation.vm_id, "new_task": operation.action.task}
        if row := connection.execute(SHOW_TASK, params).first():
            _append_event(connection, row._asdict())
            return _snapshot_from_row(row)
    return None


def on_accepted(
    connection: Connection, operation: Operation, expected_vm: VM | None
) -> VMSnapshot | None:
    """Ignore observations that started before now: they may predate the accepted step.

    Inserts and returns the expected VM of a create, unless an observation has inserted it first.
    """
    if operation.action is Action.CREATE:
        if expected_vm is not None and (vm := _insert_expected(connection, expected_vm)):
            return vm
        # the observation may have come before the operation was known to have this VM
        refresh(connection, operation.vm_id, raises_fence=True)
    else:
        connection.execute(RAISE_FENCE, {"of": operation.vm_id})
    return None


def on_finished(connection: Connection, operation: Operation) -> None:
    """Remove the task of a finished operation; ignore earlier observations."""
    vm_ids: Sequence[str] = [operation.vm_id] if operation.vm_id else []
    if operation.vm_id is None:
        vm_ids = connection.execute(SELECT_TAGGED, {"tag": operation.id}).scalars().all()
    refresh(connection, *vm_ids, raises_fence=True)


def refresh(connection: Connection, *vm_ids: str | None, raises_fence: bool = False) -> None:
    """Apply the overlay again to those of the VMs that the inventory has.

    `raises_fence`: ignore observations that started before now.
    """
    rows = connection.execute(SELECT_VMS_FOR_UPDATE, {"vm_ids": vm_ids}).all()
    if not rows:
        return
    observed = {row.id: vm_mapper.observed_vm(row) for row in rows}
    actions = actions_in_progress(connection, list(observed.values()))
    updates, event_rows = [], []
    for row in rows:
        status, task = overlaid_status(observed[row.id], actions.get(row.id))
        is_changed = (status, task) != (row.status, row.task)
        values = {"status": status, "task": task, "revision": row.revision + is_changed}
        if is_changed:
            changed = {**row._asdict(), **values}
            event_rows.append(event_mapper.vm_event_to_row(EventKind.VM_CHANGED, changed))
        if is_changed or (raises_fence and row.deleted_at is None):
            updates.append({"of": row.id, **{f"new_{name}": values[name] for name in values}})
    if updates:
        connection.execute(UPDATE_OVERLAY_AND_FENCE if raises_fence else UPDATE_OVERLAY, updates)
        events.append(connection, *event_rows)


def _insert_expected(connection: Connection, vm: VM) -> VMSnapshot | None:
    values = {
        **vm_mapper.to_row(vm),
        "status": vm.status,
        "task": vm.task,
        "revision": 1,
        # an empty window: any observation that starts later is newer
        "observation_started_at": 0,
        "observation_finished_at": 0,
    }
    insert = insert_missing_vms(connection.dialect.name, ("min_observed_at",))
    if connection.execute(insert, values).first() is None:
        return None
    _append_event(connection, values, EventKind.VM_CREATED)
    return VMSnapshot(vm, 1, 0.0)


def _append_event(
    connection: Connection, values: dict[str, Any], kind: EventKind = EventKind.VM_CHANGED
) -> None:
    events.append(connection, event_mapper.vm_event_to_row(kind, values))


def _snapshot_from_row(row: Row[Any]) -> VMSnapshot:
    """Return the snapshot of a row of `SNAPSHOT_COLUMNS`."""
    return VMSnapshot(vm_mapper.from_row(row), row.revision, _row_age_seconds(row))


def _row_age_seconds(row: Row[Any]) -> float:
    """Return the age of a row: since its observation or the last sync."""
    observed_at = past_time(row.observation_started_at, row.now)
    return to_seconds(row.now - max(observed_at, row.synced_at or 0))
